"""Trained models as ONNX files, each checked in ONNX Runtime before it is published."""
