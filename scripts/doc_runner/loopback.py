"""Brings up the loopback interface of a new network namespace, which starts without one."""

import fcntl
import socket
import struct


def bring_up_loopback() -> None:
    """Needs root in the network's user namespace."""
    set_flags, up, running = 0x8914, 0x1, 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up | running))


if __name__ == "__main__":
    bring_up_loopback()
