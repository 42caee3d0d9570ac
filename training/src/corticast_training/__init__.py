"""Offline training for Corticast: prepared BOLD in, ONNX and a manifest out.

The boundary to the daemon is files. What a model is trained on was written by
`corticast prepare`, that is by the very code that feeds the model online, so nothing here
masks, normalises or shifts anything again.
"""

import os

# ONNX Runtime's builds for Linux send events to their maker from the moment of their import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
