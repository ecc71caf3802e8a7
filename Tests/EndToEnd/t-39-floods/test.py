"""Clients that want too much: rates by the minute, drips, a full server. And addresses that stand for many: a port that a container
engine publishes opens no relay, over IPv4 and IPv6, whatever `networks` says of the container's neighbours."""

import contextlib
import json
import os
import socket
import threading
import time

from kit import *


@test("connections, messages, recipients and errors have rates of their own, with anvil's replies and the line in the log; who is exempt has none")
def _():
    limits = {"connection_rate": 3, "message_rate": 2, "recipient_rate": 3, "error_rate": 4, "exempt": ["127.0.0.9"]}
    with Server(limits=limits) as server:
        def client(last):
            return Dialogue(server.port, source=f"127.0.0.{last}")

        for _ in range(3):
            client(2).close()
        with client(2) as one:
            assert one.greeting == "421 4.7.0 mx.example.org Error: too many connections from 127.0.0.2" and one.rest() == ""
        with client(3) as one:
            one.expect("EHLO x.example.net", "250")
            for _ in range(2):
                one.expect("MAIL FROM:<>", "250")
                one.expect("RSET", "250")
            one.expect("MAIL FROM:<>", "450 4.7.1 Error: too much mail from 127.0.0.3")
        with client(4) as one:
            one.expect("EHLO x.example.net", "250")
            one.expect("MAIL FROM:<>", "250")
            for _ in range(3):
                one.expect("RCPT TO:<alice@example.org>", "250")
            one.expect("RCPT TO:<alice@example.org>", "450 4.7.1 Error: too many recipients from 127.0.0.4")
        with client(5) as one:
            for _ in range(4):
                one.expect("FROB", "500 5.5.2")
            one.write(b"FROB\r\n")
            assert one.rest().splitlines() == ["500 5.5.2 Error: command not recognized", "421 4.7.0 mx.example.org Error: too many errors from 127.0.0.5"]
        with client(5) as one:
            assert one.greeting.startswith("421 4.7.0 mx.example.org Error: too many errors")
        for _ in range(5):
            with client(9) as one:
                one.expect("EHLO x.example.net", "250")
                for _ in range(3):
                    one.expect("MAIL FROM:<>", "250")
                    one.expect("RSET", "250")
        wanted = {f"limits.{name}_rate" for name in ("connection", "message", "recipient", "error")}
        wait_for(lambda: wanted <= {event.get("rule", "").split(" ")[-1] for event in server.events("message.rejected")}, what="their lines in the log")


@test("a client that drips octets gets no more time for a command than a silent one; others go on meanwhile")
def _():
    with Server(limits={"timeout": "2s"}) as server, Dialogue(server.port) as drip, Dialogue(server.port) as content:
        content.envelope()
        content.expect("DATA", "354")
        ended = {}

        def pour(client, name):
            started = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - started < 20:
                    client.write(b"N" if name == "command" else b"x\r\n")
                    time.sleep(0.2)
            ended[name] = time.monotonic() - started

        threads = [threading.Thread(target=pour, args=pair, daemon=True) for pair in ((drip, "command"), (content, "content"))]
        for thread in threads:
            thread.start()
        closed = server.wait_event("session.closed", timeout=15, count=2, dsn="4.4.2")
        assert {event["after"].split(" ")[0] for event in closed} == {"CONNECT", "DATA"}, closed
        for thread in threads:
            thread.join()
        assert all(seconds < 15 for seconds in ended.values()), ended
        server.send(message("still here"), to=["bob@example.org"])


@test("a full server says 421 to one more, and what was full is free again when a client goes")
def _():
    with Server(limits={"connections": 5}) as server:
        clients = [Dialogue(server.port) for _ in range(5)]
        with Dialogue(server.port) as late:
            assert late.greeting == "421 4.3.2 mx.example.org Error: too many connections", late.greeting
        clients[0].expect("QUIT", "221")
        wait_for(lambda: Dialogue(server.port).greeting.startswith("220"), what="a place")


class Container:
    """A network namespace as a container engine makes one: a bridge with the gateway's address outside, the container's inside."""

    def __init__(self, number):
        self.name, self.bridge = f"valija-t39-{os.getpid()}-{number}", f"vt{os.getpid() % 100000}"
        self.gateway, self.gateway6 = "172.30.39.1", "fd00:39::1"
        self.commands = [
            f"ip link add {self.bridge} type bridge", f"ip addr add {self.gateway}/24 dev {self.bridge}",
            f"ip -6 addr add {self.gateway6}/64 dev {self.bridge} nodad", f"ip link set {self.bridge} up",
        ]

    def join(self, name, last):
        pair = f"v{last}x{os.getpid() % 100000}"
        for command in [
            f"ip netns add {name}", f"ip link add {pair} type veth peer name eth0 netns {name}", f"ip link set {pair} master {self.bridge}", f"ip link set {pair} up",
            f"ip -n {name} link set lo up", f"ip -n {name} addr add 172.30.39.{last}/24 dev eth0", f"ip -n {name} -6 addr add fd00:39::{last}/64 dev eth0 nodad",
            f"ip -n {name} link set eth0 up", f"ip -n {name} route add default via {self.gateway}", f"ip -n {name} -6 route add default via {self.gateway6}",
        ]:
            self.run(command)

    @staticmethod
    def run(command):
        done = run(*command.split())
        assert done.returncode == 0, f"{command}: {done.out}"

    def __enter__(self):
        for command in self.commands:
            self.run(command)
        self.join(self.name, 2)
        self.join(self.name + "n", 3)
        return self

    def __exit__(self, *_):
        for name in (self.name, self.name + "n"):
            run("ip", "netns", "del", name)
        run("ip", "link", "del", self.bridge)


def publish(target):
    """What a container engine's proxy does: takes connections of the world and hands them on, from the gateway's address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def shovel(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve():
        while True:
            client, _ = listening.accept()
            inner = socket.create_connection(target, 5)
            for pair in ((client, inner), (inner, client)):
                threading.Thread(target=shovel, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listening.getsockname()[1]


RELAY = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as client:
    client.ehlo("neighbour.example.net")
    client.mail("a@b.example")
    print(client.rcpt("x@elsewhere.example")[0])
"""


def ask_relay(dialogue):
    dialogue.expect("EHLO world.example.net", "250")
    dialogue.expect("MAIL FROM:<a@b.example>", "250")
    dialogue.expect("RCPT TO:<alice@example.org>", "250")
    return dialogue.ask("RCPT TO:<x@elsewhere.example>")


@test("through a published port nobody relays, though networks covers the gateway, over IPv4 and IPv6; neighbours do; readiness and log say why", limit=90)
def _():
    with Container(1) as container:
        wrapper = ["sh", "-c", f'ip netns exec {container.name} "$0" "$@"; exit $?']
        for networks, may_relay in ((["172.16.0.0/12", "fd00::/8"], False), (["172.16.0.0/12", "fd00::/8", container.gateway, container.gateway6, "172.30.39.2", "fd00:39::2"], True)):
            with Server(wrapper=wrapper, networks=networks, smtpd={"lookup_names": False},
                        listen={"smtp": ["0.0.0.0:25", "[::]:25"], "health": ["127.0.0.1:8080"]}) as server:
                for target in (("172.30.39.2", 25), ("fd00:39::2", 25)):
                    with Dialogue(publish(target)) as world:
                        answer = ask_relay(world)
                        assert answer.startswith("250" if may_relay else "554 5.7.1"), (networks, target, answer)
                    done = run("ip", "netns", "exec", container.name + "n", "python3", "-c", RELAY, target[0])
                    assert done.out.strip() == "250", (target, done.out)
                ready = json.loads(run("ip", "netns", "exec", container.name, "curl", "-s", "http://127.0.0.1:8080/readyz").out)
                doubts = server.events("networks.doubted")
                if may_relay:
                    assert ready["status"] == "ready" and not doubts, (ready, doubts)
                else:
                    assert ready["status"] == "degraded" and len(doubts) == 1, (ready, doubts)
                    for text in (container.gateway, container.gateway6, "172.16.0.0/12", "name the clients' own networks"):
                        assert text in ready["checks"]["networks"] and text in doubts[0]["reason"], (text, ready)
