"""The video stage's networks: AnimateDiff's from local files, or tiny ones of the same interfaces.

Everything ends as a folder with `video.toml` and ONNX files. Several graphs may share one file
of weights, stored beside them as external data.
"""
