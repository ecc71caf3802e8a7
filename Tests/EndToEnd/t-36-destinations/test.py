"""Destinations: how many deliveries at a time, what a dead one costs the others, and the pause between two."""

import threading
import time

from kit import *
from kit.certificates import Authority


class Counting:
    """A Sink's answers that count the transactions which are open at one time."""

    def __init__(self, seconds):
        self.seconds, self.open, self.most, self.lock, self.times = seconds, 0, 0, threading.Lock(), []

    def __call__(self, command, argument):
        if command == "MAIL":
            with self.lock:
                self.open += 1
                self.most = max(self.most, self.open)
                self.times.append(time.monotonic())
            time.sleep(self.seconds)
        if command == ".":
            with self.lock:
                self.open -= 1


def send_many(server, count, to):
    with server.smtp() as client:
        client.ehlo("client.example.net")
        for number in range(count):
            server.send_over(client, message(f"number {number}"), [to])


@test("deliveries to one destination begin with few at a time and become more, never more than allowed")
def _():
    counting = Counting(0.05)
    with Sink(counting, extensions=("8BITMIME",)) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", delivery={"initial_concurrency": 2, "concurrency": 8}) as server:
        send_many(server, 600, "x@busy.example")
        wait_for(lambda: len(sink.messages) >= 600, 60, what="600 messages")
        assert 2 < counting.most <= 8, counting.most


@test("a dead destination is left alone after its failures, and says so; mail for others goes on at once")
def _():
    dead = free_port()
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", routes={"dead.example": f"[127.0.0.1]:{dead}"},
                                queue={"retry": {"minimum": "1h", "maximum": "2h"}}) as server:
        send_many(server, 60, "x@dead.example")
        server.wait_event("delivery.deferred", count=60)
        # It is known to be dead now: what comes is not tried.
        queue_id = server.send(message("one more"), ["x@dead.example"])
        event = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert "delivery temporarily suspended: connect to 127.0.0.1[127.0.0.1]" in event["reply"], event
        assert event["dsn"] == "4.4.1", event
        begun = time.monotonic()
        server.wait_event("delivery.sent", queue_id=server.send(message("alive"), ["x@alive.example"]))
        assert time.monotonic() - begun < 5
        # Alive again, and an administrator wants it tried.
        with Sink(port=dead) as again:
            server.valija("queue", "flush")
            wait_for(lambda: len(again.messages) == 61, 30, what="what waited")
        server.wait_queue_empty()


@test("with a rate delay one message follows another after the pause, over one connection or several")
def _():
    counting = Counting(0)
    with Sink(counting) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", delivery={"rate_delay": "1s"}) as server:
        send_many(server, 3, "x@slow.example")
        wait_for(lambda: len(sink.messages) >= 3, what="3 messages")
        pauses = [later - earlier for earlier, later in zip(counting.times, counting.times[1:])]
        assert counting.most == 1 and all(pause > 0.9 for pause in pauses), (counting.most, pauses)


def sent(server, count):
    """That many messages to the relayhost, each after the one before has arrived."""
    for number in range(count):
        server.wait_event("delivery.sent", queue_id=server.send(message(f"number {number}"), ["someone@elsewhere.example"]))


@test("a message alone leaves its server with QUIT at once; those that follow it share a connection, which is left with QUIT when Valija stops")
def _():
    for certificate in None, Authority(SCRATCH / "authority").issue("sink.example"):
        with Sink(certificate=certificate) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
            sent(server, 1)
            # A connection that waits for more would wait five seconds.
            wait_for(lambda: sink.commands[-1] == "QUIT", 4, "QUIT")
            sent(server, 4)
            assert sink.connections == 2 and sink.commands.count("QUIT") == 1, sink.commands
            code, seconds = server.stop()
            assert code == 0 and seconds < 2, (code, seconds)
            assert sink.commands.count("QUIT") == 2 and sink.commands[-1] == "QUIT", sink.commands


@test("a server that does not answer QUIT does not keep Valija from stopping")
def _():
    over = threading.Event()
    with Sink(lambda command, _: over.wait(30) and None if command == "QUIT" else None) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        sent(server, 3)
        code, seconds = server.stop()
        over.set()
        assert code == 0 and seconds < 6 and sink.commands.count("QUIT") == 2, (code, seconds, sink.commands)
