"""Whose socket it is, among descriptors that come and go."""

import os
import socket

from linewatch.socket_owners import is_listened, listener, listens, udp_process


def test_the_process_is_found_also_behind_a_descriptor_that_is_closed_meanwhile() -> None:
    """The descriptor that lists /proc/self/fd takes the lowest free number and is gone when it is looked at."""
    lower = os.open(os.devnull, os.O_RDONLY)
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for one in (tcp, udp):
            one.bind(("127.0.0.1", 0))
        tcp.listen()
        os.close(lower)
        (address, udp_port), tcp_port = udp.getsockname(), tcp.getsockname()[1]
        assert listener(tcp_port) == udp_process(address, udp_port) == os.getpid()
        assert listens(os.getpid(), tcp_port)
        assert udp_process("127.0.0.2", udp_port) is None
    assert not is_listened(tcp_port)
    assert udp_process(address, udp_port) is None


def test_a_process_that_is_gone_has_no_socket() -> None:
    assert not listens(2**22, 1)
