"""Sends volumes as the scanner side of pyneal does, through pyzmq: ADDRESS PORT N_VOLUMES."""

import json
import sys

import numpy as np
import zmq

address, port, n_volumes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
socket = zmq.Context().socket(zmq.PAIR)
socket.setsockopt(zmq.RCVTIMEO, 60_000)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(f"tcp://{address}:{port}")
socket.send_string("hello from pyneal_scanner")
print(socket.recv_string())
affine = [[-3, 0, 0, 4.5], [0, -3, 0, 3], [0, 0, 3, 0], [0, 0, 0, 1]]
for index in range(n_volumes):
    voxels = np.arange(24, dtype=np.float64).reshape(4, 3, 2) + 100 * index
    header = {
        "volIdx": index,
        "dtype": str(voxels.dtype),
        "shape": voxels.shape,
        "affine": json.dumps(affine),
        "TR": "1500",
    }
    socket.send_json(header, zmq.SNDMORE)
    socket.send(np.ascontiguousarray(voxels), copy=False)
    print(socket.recv_string())
socket.send(b"\x80\x04not json", zmq.SNDMORE)
socket.send(b"xx")
print(socket.recv_string())
