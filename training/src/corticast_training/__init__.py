"""Offline training for Corticast: prepared BOLD in, ONNX and a manifest out.

The boundary to the daemon is files. What a model is trained on was written by
`corticast prepare`, that is by the very code that feeds the model online, so nothing here
masks, normalises or shifts anything again.
"""

__version__ = "0.1.0"
