"""A disk that fills: mail is refused for now, before it is too late to write anything."""

import os

from kit import *


@test("less room than queue.minimum_free: 452 4.3.1, the rest goes on, and readiness says why")
def _():
    with Server(queue={"minimum_free": "900TiB"}) as server:
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            reply = client.ask("MAIL FROM:<sender@example.net>")
            if reply.startswith("250"):  # may come as late as DATA
                client.expect("RCPT TO:<alice@example.org>", "")
                reply = client.ask("DATA")
            assert reply.startswith("452 4.3.1"), reply
            client.expect("NOOP", "250")
            client.expect("QUIT", "221")
        status, text = server.http("/readyz")
        assert status == 503 and "minimum_free" in text, (status, text)
        assert server.wait_event("message.rejected")["reply"].startswith("452 4.3.1")
        assert not server.letters("alice") and server.queue() == []


@test("a message announced larger than the room that is left is refused as well")
def _():
    with Server() as server:
        room = os.statvfs(server.spool)
        free = room.f_bavail * room.f_frsize
    limits = {"message_size": "4GiB", "mailbox_size": 0}
    with Server(queue={"minimum_free": max(0, free - 300 * 1024 * 1024)}, limits=limits) as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        client.expect(f"MAIL FROM:<sender@example.net> SIZE={2 << 30}", "452 4.3.1")
        client.expect("MAIL FROM:<sender@example.net> SIZE=2000", "250")
