"""Ports that are free, and waiting for what is to become true."""

import socket
import time

_given = set()


def free_port():
    """A port of 127.0.0.1 that nobody listens at, given out once."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
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
