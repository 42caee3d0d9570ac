"""Prints the clips that the daemon publishes; with FOLDER saves each first frame as a PNG.

    pip install pyzmq msgpack numpy
    python clips.py [tcp://127.0.0.1:5561 [FOLDER]]
"""
import pathlib, struct, sys, zlib  # noqa: E401

import msgpack
import numpy as np
import zmq

endpoint, folder = (sys.argv[1:] + ["tcp://127.0.0.1:5561", None][len(sys.argv) - 1 :])[:2]
socket = zmq.Context().socket(zmq.SUB)
socket.connect(endpoint)
socket.subscribe("clip")

def png(rgb):
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    size = struct.pack(">2I5B", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks

while True:
    topic, header, *pixels = socket.recv_multipart()
    if topic != b"clip":  # a subscription is a prefix
        continue
    clip = msgpack.unpackb(header)
    about = f"{clip['run']}  {clip['stimulus_time_s']:7.2f} s  {clip['mode']}"
    if not pixels:  # feedback is blanked
        print(f"{about}  blanked", flush=True)
        continue
    shape = (clip["n_frame"], clip["edge"], clip["edge"], 3)
    frames = np.frombuffer(pixels[0], np.uint8).reshape(shape)
    age = f"{clip['age_ns'] / 1e9:.2f} s old, {clip['superseded']} went by"
    print(f"{about}  {frames.shape}  {age}  {clip.get('caption', '')}", flush=True)
    if folder:
        name = f"{clip['run']}_{clip['index']:06}.png"
        pathlib.Path(folder, name).write_bytes(png(frames[0]))
