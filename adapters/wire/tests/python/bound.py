"""libzmq as the side that is bound: a ROUTER that echoes and a PUB that tells."""
import sys
import time

import zmq

context = zmq.Context()
router, publisher = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
for socket, heartbeat in ((router, 500), (publisher, 500)):
    socket.linger = 0
    socket.heartbeat_ivl = heartbeat
ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (router, publisher)]
print(*ports, flush=True)
stop = time.monotonic() + float(sys.argv[1])
while time.monotonic() < stop:
    publisher.send_multipart([b"volume", b"no"])
    publisher.send_multipart([b"concepts", b"{}"])
    if router.poll(20):
        router.send_multipart(router.recv_multipart())
