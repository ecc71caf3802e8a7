"""Ports that are free, and waiting for what is to become true."""

import random
import socket
import time

_given = set()


# Below the ports that outgoing connections get (from 16000 in gVisor, 32768 in Linux): one of those could take a port
# between the moment in which it was found free and that in which a server listens.
PORTS = range(10000, 16000)


def free_port():
    """A port of 127.0.0.1 that nobody listens at, given out once."""
    while True:
        port = random.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def wait_for(condition, timeout=15, what=None, every=0.02):
    """Calls `condition` until it yields something true, and returns that. Raises after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or condition}; last was {value!r}")
        time.sleep(every)
