"""Disks that are full or read-only, a damaged database, a clock set back: mail is refused for now, nothing is lost, and the log,
readiness and `queue verify` say so. The disks are file systems of their own, which needs root."""

import json
import os
import pathlib
import random
import sqlite3
import subprocess
import time

from kit import *

NEVER = {"retry": {"minimum": "1h", "maximum": "1h"}}
OUT = "someone@elsewhere.example"
CORRUPT = b"\xa5" * 4096


class Disk:
    """A small file system in memory."""

    def __init__(self, size):
        self.path = SCRATCH / f"disk-{random.randrange(1 << 30)}"
        self.path.mkdir()
        self.size = size

    def __enter__(self):
        done = run("mount", "-t", "tmpfs", "-o", f"size={self.size},mode=0700", "none", self.path)
        assert done.returncode == 0, done.out
        return self

    def remount(self, mode):
        done = run("mount", "-o", f"remount,{mode}", self.path)
        assert done.returncode == 0, done.out

    def __exit__(self, *_):
        run("umount", "-l", self.path)


def readiness(server):
    status, text = server.http("/readyz")
    return status, json.loads(text)["checks"]["spool"]


def try_to_send(server, data, to):
    """The reply to the first command that is refused, or to the end of the data."""
    with Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        for command in ("MAIL FROM:<sender@example.net>", f"RCPT TO:<{to}>"):
            reply = client.ask(command)
            if not reply.startswith("250"):
                return reply
        reply = client.ask("DATA")
        if not reply.startswith("354"):
            return reply
        client.write(data + b"\r\n.\r\n")
        return client.reply()


def idle(server, *ids):
    """The server with these messages waiting, stopped."""
    wait_for(lambda: sorted(e["queue_id"] for e in server.queue() if e["queue"] == "deferred") == sorted(ids), what="deferred mail")
    assert server.stop()[0] == 0


def verify(server):
    done = server.valija("queue", "verify", "--json")
    return done.returncode, json.loads(done.out)


@test("a full disk: 452 4.3.1 or 451, readiness and the log say why; with room again all goes on and nothing accepted is missing", limit=120)
def _():
    with Disk("8m") as disk, Server(queue={"directory": str(disk.path), **NEVER}, relayhost=f"[127.0.0.1]:{free_port()}", logging={"level": "info"}) as server:
        body = b"From: a@example.net\r\nSubject: x\r\n\r\n" + (b"z" * 70 + b"\r\n") * 800
        accepted = 0
        reply = try_to_send(server, body, OUT)
        while reply.startswith("250"):
            accepted += 1
            reply = try_to_send(server, body, OUT)
        assert reply[:9] in ("452 4.3.1", "451 4.3.0"), reply
        assert accepted > 10, accepted
        reason = server.wait_event("message.rejected")["reason"]
        assert "full" in reason or "No space" in reason, reason
        assert len(server.queue()) == accepted
        disk.remount("size=64m")
        assert try_to_send(server, body, OUT).startswith("250")
        assert readiness(server) == (200, "ok")
        assert len(server.queue()) == accepted + 1
        server.kill()
        server.start()
        assert len(server.queue()) == accepted + 1
        server.valija("queue", "delete", "ALL")


@test("a disk that becomes read-only: 451, not ready, and the queue is served again when it can be written")
def _():
    with Disk("64m") as disk, Server(queue={"directory": str(disk.path), **NEVER}, relayhost=f"[127.0.0.1]:{free_port()}") as server:
        queue_id = server.send(message("before"), [OUT])
        wait_for(lambda: server.queue()[0]["queue"] == "deferred", what="a deferred message")
        server.stop()
        disk.remount("ro")
        server.spawn()
        assert server.process.wait(20) != 0
        [failed] = server.events("service.failed", since_start=True)
        assert "queue.directory" in failed["reason"] or "queue.directory" in failed.get("message", ""), failed
        disk.remount("rw")
        server.start()
        assert [entry["queue_id"] for entry in server.queue()] == [queue_id]
        assert readiness(server) == (200, "ok")
        server.valija("queue", "delete", "ALL")


@test("a damaged page under a running server: mail is refused for now, readiness says so; verify finds it, repair saves the rest", limit=120)
def _():
    with Server(queue=NEVER, relayhost=f"[127.0.0.1]:{free_port()}", logging={"level": "info"}) as server:
        ids = [server.send(message(f"m{n}", "x" * 70 + "\r\n" + "y\r\n" * 800), [OUT]) for n in range(150)]
        idle(server, *ids)
        assert verify(server) == (0, {"sound": True, "messages": 150, "faults": 0, "findings": []}), verify(server)
        path = server.spool / "spool.db"
        # Of the table of contents, which a start does not read: each of its pages holds one.
        with open(path, "r+b") as file:
            pages = [n for n in range(6, os.path.getsize(path) // 4096) if header(file, n) == (0x0D, 1)]
            for n in random.Random(7).sample(pages, 6):
                file.seek(n * 4096)
                file.write(CORRUPT)
        code, report = verify(server)
        assert code == 1 and not report["sound"] and any("damaged" in finding["text"] for finding in report["findings"]), report
        server.start()
        server.valija("queue", "flush")
        server.valija("queue", "list")
        wait_for(lambda: readiness(server)[0] == 503, what="a server that is not ready")
        assert "repair" in readiness(server)[1], readiness(server)
        assert try_to_send(server, message("new"), OUT).startswith("451 4.3.0")
        assert any("malformed" in event["reason"] for event in server.events("queue.failed")), server.events("queue.failed")
        done = server.valija("queue", "verify")
        assert done.returncode == 75 and "stop the appliance first" in done.out, done.out
        assert server.valija("queue", "repair").returncode == 75
        server.stop()
        done = server.valija("queue", "repair", "--json")
        assert done.returncode == 0, done.out
        repaired = json.loads(done.out)
        assert repaired["repaired"] and 0 < repaired["messages"] < 150 and repaired["gaps"] > 0, repaired
        assert verify(server)[0] == 0, verify(server)
        kept = {name.split(".")[0] for name in os.listdir(server.spool / "lost+found") if name.endswith((".eml", ".envelope"))}
        server.start()
        queued = {entry["queue_id"] for entry in server.queue()}
        assert len(queued) == repaired["messages"] and not queued & kept, repaired
        print(f"     150 messages, 6 pages damaged: {len(queued)} queued, {len(kept)} in lost+found, {150 - len(queued | kept)} gone")
        assert len(queued | kept) >= 120, (len(queued), len(kept))
        done = server.valija("queue", "repair")
        assert done.returncode == 75, done.out
        server.valija("queue", "delete", "ALL")


def header(file, number):
    """Of a page of the database: its kind, and how many rows it holds."""
    file.seek(number * 4096)
    octets = file.read(5)
    return octets[0], int.from_bytes(octets[3:5], "big")


@test("a database whose beginning is gone: serve says what to do, repair finds the messages all the same")
def _():
    with Server(queue=NEVER, relayhost=f"[127.0.0.1]:{free_port()}") as server:
        ids = [server.send(message(f"m{n}"), [OUT]) for n in range(20)]
        large = server.send(message("large", ("z" * 70 + "\r\n") * 2000), [OUT])
        idle(server, *ids, large)
        with open(server.spool / "spool.db", "r+b") as file:
            file.write(CORRUPT)
        server.spawn()
        assert server.process.wait(20) != 0
        assert "valija queue repair" in (server.spool.parent / "log").read_text(), server.log_tail()
        done = server.valija("queue", "repair")
        assert done.returncode == 0 and done.out.startswith("repaired: 21 messages are queued; 0 more"), done.out
        server.start()
        assert {entry["queue_id"] for entry in server.queue()} == {*ids, large}
        assert server.valija("queue", "show", large).out.count("z" * 70) == 2000
        server.valija("queue", "delete", "ALL")


@test("content without a message and a message without content are told apart, and kept by repair")
def _():
    with Server(queue=NEVER, relayhost=f"[127.0.0.1]:{free_port()}") as server:
        ids = [server.send(message(f"m{n}"), [OUT]) for n in range(3)]
        large = server.send(message("large", ("z" * 70 + "\r\n") * 2000), [OUT])
        idle(server, *ids, large)
        with sqlite3.connect(server.spool / "spool.db") as database:
            database.execute("DELETE FROM body WHERE message=?", (int(ids[0], 16),))
            database.execute("DELETE FROM message WHERE id=?", (int(ids[1], 16),))
        database.close()
        (server.spool / "large" / large).unlink()
        code, report = verify(server)
        texts = {(finding["queue_id"], finding["text"]) for finding in report["findings"]}
        assert code == 1 and (ids[0], "its content is missing") in texts and (ids[1], "content without a message") in texts and (large, "its content is missing") in texts, texts
        done = server.valija("queue", "repair")
        assert done.returncode == 0 and done.out.startswith("repaired: 1 messages are queued; 3 more"), done.out
        found = server.spool / "lost+found"
        assert (found / f"{ids[1]}.eml").read_bytes().endswith(message("m1").split(b"\r\n\r\n", 1)[1])
        assert OUT in (found / f"{ids[0]}.envelope").read_text()
        done = server.valija("queue", "repair")
        assert (done.returncode, done.out) == (0, "sound: nothing to repair\n"), done.out
        server.start()
        assert [entry["queue_id"] for entry in server.queue()] == [ids[2]]
        server.valija("queue", "delete", "ALL")


@test("a database that is gone: large contents are not thrown away but kept, and the log says so")
def _():
    with Server(queue=NEVER, relayhost=f"[127.0.0.1]:{free_port()}") as server:
        large = server.send(message("large", ("z" * 70 + "\r\n") * 2000), [OUT])
        idle(server, large)
        (server.spool / "spool.db").unlink()
        server.start()
        assert any("lost+found" in event["reason"] for event in server.events("queue.failed", since_start=True))
        assert (server.spool / "lost+found" / f"{large}.eml").read_bytes().count(b"z" * 70) == 2000


@test("a clock that was set back by two days: mail that waited is tried at once, and new ids stay above the old ones")
def _():
    with Server(queue=NEVER, relayhost=f"[127.0.0.1]:{free_port()}") as server:
        old = server.send(message("old"), [OUT])
        idle(server, old)
        ahead = 2 * 86400 * 1_000_000
        # The spool as a clock two days ahead left it.
        with sqlite3.connect(server.spool / "spool.db") as database:
            for table, column in (("message", "id"), ("recipient", "message"), ("body", "message")):
                database.execute(f"UPDATE {table} SET {column}={column}+{ahead}")
            database.execute(f"UPDATE message SET received=received+{ahead}, due=due+{ahead}")
            database.execute(f"UPDATE id_mark SET id=id+{ahead}")
        database.close()
        server.start()
        moved = f"{int(old, 16) + ahead:X}"
        server.wait_event("delivery.deferred", queue_id=moved)
        assert abs(server.wait_event("clock.set_back")["delay"] - 2 * 86400) < 600
        new = server.send(message("new"), [OUT])
        assert int(new, 16) > int(moved, 16), (new, moved)
        server.valija("queue", "delete", "ALL")
