"""An adapter that uses MessagePack, followed by a REQ that uses JSON."""
import json
import sys
import zlib

import msgpack
import zmq

endpoint = sys.argv[1]
context = zmq.Context()
dealer = context.socket(zmq.DEALER)
dealer.linger = 0
dealer.rcvtimeo = 100000
dealer.connect(endpoint)

affine = [[3, 0, 0, -9], [0, 3, 0, -9], [0, 0, 3, 0], [0, 0, 0, 1]]
run = {"protocol": 1, "session": "s", "run": {"sub": "01", "run": 1}, "repetition_time_s": 1.5,
       "matrix": [2, 3, 4], "affine": affine, "n_volumes": None, "source": "pyzmq",
       "series_id": "x"}  # fmt: skip
dealer.send_multipart([b"run", msgpack.packb(run)])
kind, header = dealer.recv_multipart()
ready = msgpack.unpackb(header)
assert (kind, ready["run"], ready["protocol"]) == (b"ready", "sub-01_run-1", 1), ready
assert ready["durability"] == "flush", ready

voxels = bytes(range(48))
for index in range(5):
    volume = {"run": ready["run"], "index": index, "acquisition_time_s": 1.5 * index,
              "dtype": "<u2", "shape": (2, 3, 4), "order": "F", "crc32": zlib.crc32(voxels),
              "slope": 2.0, "intercept": -1.0}  # fmt: skip
    dealer.send_multipart([b"vol", msgpack.packb(volume), voxels])
    kind, header = dealer.recv_multipart()
    assert kind == b"ack" and msgpack.unpackb(header) == {"run": ready["run"], "index": index}

damaged = {"run": ready["run"], "index": 5, "dtype": "<u2", "crc32": 1}
dealer.send_multipart([b"vol", msgpack.packb(damaged), voxels])
kind, header = dealer.recv_multipart()
assert kind == b"refused" and msgpack.unpackb(header)["code"] == "damaged", header

dealer.send_multipart([b"ping"])
kind, header = dealer.recv_multipart()
assert kind == b"ping" and msgpack.unpackb(header)["instance"], header

req = context.socket(zmq.REQ)
req.linger = 0
req.rcvtimeo = 100000
req.connect(endpoint)
req.send_multipart([b"end", json.dumps({"run": ready["run"], "n_sent": 5}).encode()])
kind, header = req.recv_multipart()
assert kind == b"ack" and json.loads(header) == {"run": ready["run"]}, header
print("done")
