"""Prints the daemon's results: the three likeliest concepts of every stimulus.

    pip install pyzmq msgpack
    python client.py [tcp://127.0.0.1:5561]
"""
import sys

import msgpack
import zmq

socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5561")
socket.subscribe("concepts")
expected = None
while True:
    topic, header, *_ = socket.recv_multipart()
    if topic != b"concepts":  # a subscription is a prefix
        continue
    result = msgpack.unpackb(header)
    if expected not in (None, result["sequence"]):
        print(f"lost {result['sequence'] - expected} results: this program is too slow")
    expected = result["sequence"] + 1
    likeliest = sorted(result["concepts"].items(), key=lambda item: -item[1])[:3]
    names = "  ".join(f"{name} {probability:.2f}" for name, probability in likeliest)
    print(f"{result['run']}  {result['stimulus_time_s']:7.2f} s  {names}", flush=True)
