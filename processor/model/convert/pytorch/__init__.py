"""PyTorch models: described in a file where PyTorch is (`export`), and made into Keras models where that is (`build`).

Importing this imports neither.
"""
