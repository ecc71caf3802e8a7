"""What the end-to-end cases share: a server under test, peers that follow a script, and what to read afterwards.

    from kit import *

    @test("a sentence of condition and result")
    def _():
        with Server(limits={"message_size": 20000}) as server:
            server.send(message("hello"), to=["alice@example.org"])
            [letter] = server.wait_mail("alice", 1)
            ...
"""

import collections

from .addresses import free_port, wait_for
from .letters import Letter, message, split_header
from .peers import Dialogue, Sink, StrictSink
from .server import BINARY, ROOT, SCRATCH, Server, run, to_yaml

Test = collections.namedtuple("Test", "sentence function limit")
tests = []


def test(sentence, limit=60):
    """Marks a function as a test. It fails by raising, `assert` first of all, or after `limit` seconds."""

    def mark(function):
        tests.append(Test(sentence, function, limit))
        return function

    return mark


__all__ = ["BINARY", "Dialogue", "Letter", "ROOT", "SCRATCH", "Server", "Sink", "StrictSink", "free_port", "message", "run",
           "split_header", "test", "to_yaml", "wait_for"]
