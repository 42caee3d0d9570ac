"""One foreign peer: `foreign.py dealer|req|sub ENDPOINT`. Prints `done` on success."""

import sys

import zmq

kind, endpoint = sys.argv[1:]
socket = zmq.Context().socket({"dealer": zmq.DEALER, "req": zmq.REQ, "sub": zmq.SUB}[kind])
socket.setsockopt(zmq.RCVTIMEO, 60_000)
socket.setsockopt(zmq.LINGER, 0)
if kind == "sub":
    socket.setsockopt(zmq.SUBSCRIBE, b"concepts")
socket.connect(endpoint)

if kind == "dealer":
    for index in range(20):
        # Empty, small and large frames take different paths through a codec.
        voxels = bytes([index]) * [0, 10, 1_500_000][index % 3]
        socket.send_multipart([b"vol", bytes([index]), voxels])
        assert socket.recv_multipart() == [b"ack", bytes([index])]
elif kind == "req":
    socket.send_multipart([b"state"])
    assert socket.recv_multipart() == [b"state", b"{}"]
else:
    for _ in range(20):
        assert socket.recv_multipart() == [b"concepts", b"{}"]
print("done")
