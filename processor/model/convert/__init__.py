"""The converter: a trained Keras model becomes an artifact. The only importer of keras and tensorflow."""
