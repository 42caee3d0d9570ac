"""Simulates a run. python adapter.py [ENDPOINT [N_VOLUMES [REPETITION_TIME_S]]]"""
import json, sys, time, zlib  # noqa: E401

import numpy as np
import zmq

endpoint, n, tr = (sys.argv[1:] + ["tcp://127.0.0.1:5560", "20", "2.0"][len(sys.argv) - 1 :])[:3]
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(endpoint)
volumes = np.random.default_rng(1).integers(0, 4000, (int(n), 64, 64, 32), "<i2")

def exchange(kind, header, *voxels, answer=b"ack"):
    for _ in range(10):  # no answer for 2 s: send it again, duplicates do no harm
        socket.send_multipart([kind, json.dumps(header).encode(), *voxels])
        while socket.poll(2000):
            got, reply = socket.recv_multipart()
            reply = json.loads(reply)
            if got == b"refused":
                sys.exit(reply["reason"])
            if got == answer and reply.get("index") == header.get("index"):
                return reply
    sys.exit("the daemon does not answer")

start = {"run": {"sub": "01", "task": "demo"}, "repetition_time_s": float(tr),
         "matrix": volumes.shape[1:], "affine": np.diag([3, 3, 3, 1]).tolist()}  # fmt: skip
run = exchange(b"run", start, answer=b"ready")["run"]
for index, voxels in enumerate(map(bytes, volumes)):
    header = {"run": run, "index": index, "dtype": "<i2", "crc32": zlib.crc32(voxels)}
    exchange(b"vol", header, voxels)
    time.sleep(float(tr))
exchange(b"end", {"run": run, "n_sent": int(n)})
