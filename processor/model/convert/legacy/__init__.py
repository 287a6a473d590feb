"""Models that Keras 1 and 2 described: built again, layer by layer, and given the weights of their file by name.

Keras 3 reads such files in part only, and pairs weights with layers by order. So nothing of them is left to it:

- `settings` (and `first`, for Keras 1) put each layer's settings into Keras 3's words;
- `graph` calls the layers as the file's nodes tell;
- `operations` knows what TensorFlow's functions among the layers mean;
- `weights` reads the arrays, by the names of the layers.
"""
