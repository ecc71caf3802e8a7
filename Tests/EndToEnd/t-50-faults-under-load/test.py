"""Disks that fail while mail is flowing: a file system that the kernel turns read-only, one that refuses to write and comes back, one
that fills up and gets room again. Nothing that was answered with 250 is lost, nothing is delivered twice, clients hear 45x, and
readiness says so. The disks are file systems of their own, which needs root."""

import collections
import json
import random
import re
import subprocess
import threading
import time

from kit import *

OUT = "someone@elsewhere.example"
SMALL, LARGE = 2_000, 150_000  # in the database's row, and in a file of its own


class Load:
    """Clients that send one message after another, to a mailbox and to the outside, and write down what was answered."""

    def __init__(self, server, clients=4, pause=0.0, large=0.25):
        self.server, self.pause, self.large = server, pause, large
        self.accepted, self.refused = [], collections.Counter()
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        chance = random.Random(number)
        count = 0
        while not self.is_over.is_set():
            try:
                with Dialogue(self.server.port, timeout=30) as client:
                    client.ask("EHLO client.example.net")
                    while not self.is_over.is_set():
                        count += 1
                        mark = f"m{number}-{count}"
                        body = ("z" * 70 + "\r\n") * ((LARGE if chance.random() < self.large else SMALL) // 72)
                        reply = self._send(client, mark, message(mark, body))
                        with self.lock:
                            if reply.startswith("250"):
                                self.accepted.append(mark)
                            else:
                                self.refused[reply[:9]] += 1
                        if reply.startswith("421") or not reply:
                            break
                        if not reply.startswith("250"):
                            client.ask("RSET")
                            time.sleep(0.05)
                        time.sleep(self.pause)
            except OSError:
                time.sleep(0.05)

    @staticmethod
    def _send(client, mark, data):
        for command in ("MAIL FROM:<>", "RCPT TO:<alice@example.org>", f"RCPT TO:<{mark}@elsewhere.example>", "DATA"):
            reply = client.ask(command)
            if reply[:1] not in ("2", "3"):
                return reply
        client.write(data + b".\r\n")
        return client.reply()

    def wait_accepted(self, count, timeout=60):
        wait_for(lambda: len(self.accepted) >= count, timeout, f"{count} accepted messages; {self.refused}")

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(40)
            assert not thread.is_alive()


def mark_of(data):
    return re.search(rb"^Subject: (m\d+-\d+)\r?$", data, re.M).group(1).decode()


def assert_delivered(server, sink, load, once=True):
    """Each accepted message is in the mailbox exactly once, and at the next hop; more than once there only after a crash."""
    server.wait_queue_empty(timeout=90)
    boxes = collections.Counter(mark_of(letter.data) for letter in server.letters("alice"))
    hops = collections.Counter(mark_of(data) for _, _, data in sink.messages)
    for place, found in ("the mailbox", boxes), ("the next hop", hops):
        missing = [mark for mark in load.accepted if not found[mark]]
        assert not missing, f"{len(missing)} of {len(load.accepted)} accepted messages never came to {place}: {missing[:5]}"
    assert set(boxes.values()) == {1}, [mark for mark, count in boxes.items() if count > 1][:5]
    assert not once or set(hops.values()) == {1}, [mark for mark, count in hops.items() if count > 1][:5]
    # What was refused may have come all the same, if the reply is what failed; not what was refused before its content.
    print(f"     {len(load.accepted)} accepted, {sum(load.refused.values())} refused {dict(load.refused)}, {len(boxes)} in the mailbox")


def readiness(server):
    status, text = server.http("/readyz")
    return status, json.loads(text)["checks"]["spool"]


def assert_refusals(load):
    assert load.refused and set(load.refused) <= {"451 4.3.0", "452 4.3.1"}, load.refused


@test("the kernel turns the spool's file system read-only: 45x and not ready; after a mount and a start all that was accepted is delivered", limit=180)
def _():
    image, place = SCRATCH / "disk.img", SCRATCH / "disk"
    place.mkdir()
    done = run("mkfs.ext4", "-q", "-F", image, "200m")
    assert done.returncode == 0, done.out

    def mount():
        done = run("mount", "-o", "loop,errors=remount-ro", image, place)
        assert done.returncode == 0, done.out

    mount()
    try:
        with Sink() as sink, Server(queue={"directory": str(place / "spool")}, relayhost=f"[127.0.0.1]:{sink.port}", logging={"level": "info"}) as server:
            load = Load(server)
            load.wait_accepted(200)
            done = run("mount", "-o", "remount,abort", place)  # as an error of the disk does
            assert done.returncode == 0, done.out
            wait_for(lambda: readiness(server)[0] == 503, 30, "a server that is not ready")
            wait_for(lambda: sum(load.refused.values()) > 20, 30, "refusals")
            assert server.http("/livez")[0] == 200
            load.stop()
            assert_refusals(load)
            assert server.events("queue.failed"), "the log says nothing"
            server.stop()
            done = run("umount", place)
            assert done.returncode == 0, done.out
            run("e2fsck", "-p", image)
            mount()
            server.start()
            wait_for(lambda: readiness(server) == (200, "ok"), 30, "readiness")
            # What was handed on while nothing could be written down is handed on again.
            assert_delivered(server, sink, load, once=False)
    finally:
        run("umount", "-l", place)


def refusing(server, error):
    """Every change of a file in the spool fails with this error until the process that is returned ends. The mailboxes are spared."""
    calls = "pwrite64,pwritev,fdatasync,fsync,ftruncate,fallocate"
    files = [word for path in server.spool.glob("spool.db*") for word in ("-P", str(path))]
    process = subprocess.Popen(["strace", "-f", "-p", str(server.pid), "-o", "/dev/null", *files, "-e", f"trace={calls}", "-e", f"fault={calls}:error={error}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return process


for error in "EROFS", "EIO":
    @test(f"the queue's files refuse to be written ({error}) under load and come back: 45x meanwhile, ready again by itself, all delivered once", limit=180)
    def _(error=error):
        with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", logging={"level": "info"}) as server:
            load = Load(server)
            for time_over in range(1, 4):
                load.wait_accepted(len(load.accepted) + 100)
                fault = refusing(server, error)
                try:
                    wait_for(lambda: readiness(server)[0] == 503, 30, "a server that is not ready")
                    before = sum(load.refused.values())
                    wait_for(lambda: sum(load.refused.values()) > before + 10, 30, "refusals")
                finally:
                    fault.terminate()
                    fault.wait()
                wait_for(lambda: readiness(server) == (200, "ok"), 30, "readiness again")
            load.wait_accepted(len(load.accepted) + 100)
            load.stop()
            assert_refusals(load)
            assert_delivered(server, sink, load)
            server.kill()
            server.start()
            assert server.queue() == [], "what was delivered is in the queue again"


@test("a disk that fills up under load while the next hop takes nothing: 45x, then, with room again and the hop there, all goes on by itself", limit=180)
def _():
    place = SCRATCH / "small"
    place.mkdir()
    done = run("mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "none", place)
    assert done.returncode == 0, done.out
    is_open = threading.Event()
    try:
        with Sink(lambda command, argument: "451 4.3.2 not now" if command == "RCPT" and not is_open.is_set() else None) as sink, \
                Server(queue={"directory": str(place)}, relayhost=f"[127.0.0.1]:{sink.port}", logging={"level": "info"}) as server:
            load = Load(server, pause=0.01)
            wait_for(lambda: sum(load.refused.values()) > 50, 60, "a full disk")
            assert load.accepted
            assert_refusals(load)
            # Full for a while: retries, refusals and what is written down of deliveries go on side by side.
            until = time.monotonic() + 5
            while time.monotonic() < until:
                assert server.http("/livez")[0] == 200
                time.sleep(0.2)
            before = len(load.accepted)
            run("mount", "-o", "remount,size=200m", place)
            load.wait_accepted(before + 50)
            load.stop()
            is_open.set()
            server.valija("queue", "flush")
            assert_delivered(server, sink, load)
            assert readiness(server) == (200, "ok")
    finally:
        run("umount", "-l", place)
