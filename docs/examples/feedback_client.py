"""Prints what the participant is shown, as a bar: the smallest program for a stimulus computer.

    pip install pyzmq msgpack
    python feedback_client.py [tcp://127.0.0.1:5561]
"""
import sys

import msgpack
import zmq

WAIT_S = 4  # without a message for two TRs, show nothing

socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5561")
socket.subscribe("feedback")
while True:
    if not socket.poll(1000 * WAIT_S):
        print("(nothing is shown)", flush=True)
        continue
    _, header, *_ = socket.recv_multipart()
    score = msgpack.unpackb(header)
    shown = score.get("score")  # absent: show nothing
    bar = "" if shown is None else f"{shown:4.2f} " + "#" * round(20 * shown)
    print(f"{score['stimulus_time_s']:7.2f} s  {score['block']:9} {score['state']:10} {bar}", flush=True)
