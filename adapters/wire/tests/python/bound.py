"""libzmq as the bound side: a ROUTER that echoes and a PUB that counts, until it is killed."""
import time

import zmq

context = zmq.Context()
router, publisher = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
for socket, heartbeat in ((router, 500), (publisher, 500)):
    socket.linger = 0
    socket.heartbeat_ivl = heartbeat
ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (router, publisher)]
print(*ports, flush=True)
number = 0
# Stops by itself if the test is killed before it can kill this process.
stop = time.monotonic() + 600
while time.monotonic() < stop:
    publisher.send_multipart([b"volume", b"no"])
    publisher.send_multipart([b"concepts", str(number).encode()])
    number += 1
    if router.poll(20):
        peer, *parts = router.recv_multipart()
        router.send_multipart([peer, peer, *parts])
