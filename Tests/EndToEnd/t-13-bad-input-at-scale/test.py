"""Many, slow and senseless clients: the others do not notice, and memory stays bounded."""

import random
import threading
import time

from kit import *


def seconds_for_a_message(server):
    started = time.monotonic()
    server.send(message("in between"), ["alice@example.org"])
    return time.monotonic() - started


@test("a thousand idle connections cost little memory, and others are served", limit=120)
def _():
    with Server(limits={"connections_per_client": 5000}) as server:
        before = server.memory()
        idle = [Dialogue(server.port) for _ in range(1000)]
        for client in idle:
            client.write(b"EHLO client.example.net\r\n")
        for client in idle:
            assert client.reply().startswith("250"), "not served"
        grown = server.memory() - before
        print(f"     {before} KiB idle, {grown} KiB more for 1000 connections", flush=True)
        assert grown < 40 * 1024, f"{grown} KiB"
        assert seconds_for_a_message(server) < 5
        for client in idle:
            client.close()
        server.wait_event("session.closed", count=1000, timeout=30)
        server.wait_mail("alice", 1)


@test("clients that drip, shout, and hang up do not disturb others", limit=120)
def _():
    stop = threading.Event()
    noise = random.Random(7)

    def drip(server):
        with Dialogue(server.port, timeout=60) as client:
            for octet in b"EHLO client.example.net\r\nMAIL FROM:<sender@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: slow\r\n\r\nslow\r\n.\r\n":
                client.write(bytes([octet]))
                time.sleep(0.01)
            wait_for(lambda: b"queued as" in read_some(client), timeout=20)

    def read_some(client):
        client.buffer += client.socket.recv(4096)
        return client.buffer

    def shout(server):
        while not stop.is_set():
            try:
                with Dialogue(server.port, greeting=noise.random() < 0.5) as client:
                    client.write(noise.randbytes(noise.randrange(1, 100_000)))
                    if noise.random() < 0.5:
                        client.rest(0.1)
            except OSError:
                pass

    with Server() as server:
        drippers = [threading.Thread(target=drip, args=(server,), daemon=True) for _ in range(5)]
        shouters = [threading.Thread(target=shout, args=(server,), daemon=True) for _ in range(4)]
        for thread in drippers + shouters:
            thread.start()
        slowest = max(seconds_for_a_message(server) for _ in range(50))
        for thread in drippers:
            thread.join(60)
        stop.set()
        for thread in shouters:
            thread.join(30)
        assert slowest < 5, f"{slowest:.1f} s for a message"
        server.wait_mail("bob", 5)
        server.wait_mail("alice", 50)
        assert server.process.poll() is None, server.errors()
        assert server.memory("VmHWM") < 200 * 1024, f"{server.memory('VmHWM')} KiB"


@test("many large messages at once are written to disk, not held in memory", limit=120)
def _():
    body = (b"0123456789abcdef" * 4 + b"\r\n") * 120_000  # 8 MB
    with Server() as server:
        senders = [threading.Thread(target=server.send, args=(message(f"large {number}", body), ["alice@example.org"]), daemon=True) for number in range(16)]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join(60)
        server.wait_mail("alice", 16, timeout=60)
        print(f"     peak {server.memory('VmHWM')} KiB for 16 messages of 8 MB", flush=True)
        assert server.memory("VmHWM") < 160 * 1024, f"{server.memory('VmHWM')} KiB"


@test("a client that never reads its replies is stopped, and costs bounded memory", limit=120)
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.socket.settimeout(3)
            try:
                for _ in range(3000):
                    client.write(b"NOOP\r\n" * 4096)
            except OSError:
                pass
            assert server.memory("VmHWM") < 128 * 1024, f"{server.memory('VmHWM')} KiB"
            assert seconds_for_a_message(server) < 5


@test("a client that sends without end what never counts as an error, and reads no reply, costs bounded memory", limit=120)
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.envelope()
            client.socket.settimeout(3)
            sent = 0
            try:
                for _ in range(3000):
                    client.write(b"BDAT 0\r\n" * 4096)
                    sent += 4096
            except OSError:
                pass
            assert server.memory("VmHWM") < 128 * 1024, f"{server.memory('VmHWM')} KiB after {sent} chunks"
            assert seconds_for_a_message(server) < 5
