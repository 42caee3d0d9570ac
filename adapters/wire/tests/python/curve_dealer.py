"""A client with CURVE keys from our files; prints the answer, or `silence` after a timeout."""
import sys

import zmq
import zmq.auth

endpoint, own, server, wait_ms = sys.argv[1:]
dealer = zmq.Context().socket(zmq.DEALER)
dealer.linger = 0
if own != "none":
    dealer.curve_publickey, dealer.curve_secretkey = zmq.auth.load_certificate(own)
    dealer.curve_serverkey, _ = zmq.auth.load_certificate(server)
dealer.connect(endpoint)
dealer.send(b"hello")
print(dealer.recv().decode() if dealer.poll(int(wait_ms)) else "silence")
