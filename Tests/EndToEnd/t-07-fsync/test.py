"""A 250 is said after an fdatasync of the spool, and one fdatasync serves many sessions: read from strace."""

import re
import time

from kit import *

QUEUED = '"250 2.0.0 Ok: queued as '


def strace(server_log):
    """Traces by kernel event, with the files' paths (-y). `-s` keeps the beginning of what is written."""
    return ["strace", "-f", "-ttt", "-y", "-s", "60", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64", "-o", str(server_log)]


class Trace:
    """The lines of a trace in the order of events: a call that was interrupted counts where it ended."""

    def __init__(self, path, spool):
        self.events = []  # (kind, seconds) with kind "sync", "go on" (354), "queued" (250)
        unfinished = {}
        for line in path.read_text(errors="replace").splitlines():
            match = re.match(r"(\d+)\s+([\d.]+) (.*)", line)
            if not match:
                continue
            thread, moment, call = match.group(1), float(match.group(2)), match.group(3)
            if call.endswith("<unfinished ...>"):
                unfinished[thread] = call
                if not re.match(r"f(data)?sync\(", call):
                    self.note(call, moment)  # the reply may be on the wire before the call returns
                continue
            if call.startswith("<... "):
                call = unfinished.pop(thread, "") + call
                if not re.match(r"f(data)?sync\(", call):
                    continue
            if re.match(r"f(data)?sync\(", call) and str(spool) in call and re.search(r"\) *= 0$", call):
                self.events.append(("sync", moment))
            else:
                self.note(call, moment)

    def note(self, call, moment):
        if QUEUED in call:
            self.events.append(("queued", moment))
        elif '"354 ' in call:
            self.events.append(("go on", moment))

    def count(self, kind):
        return sum(1 for event, _ in self.events if event == kind)


def traced():
    path = SCRATCH / f"trace-{time.monotonic_ns()}"
    return path, Server(wrapper=strace(path))


@test("each message's 250 follows an fdatasync that began after its DATA")
def _():
    path, server = traced()
    with server:
        for number in range(10):
            server.send(message(f"one after another {number}"), ["alice@example.org"])
            server.wait_mail("alice", number + 1)
            time.sleep(0.1)  # what the queue writes down after the delivery is not to be mistaken for this
    events = Trace(path, server.spool).events
    kinds = [kind for kind, _ in events]
    assert kinds.count("queued") == 10 and kinds.count("go on") == 10, kinds
    position = 0
    for number in range(10):
        start = kinds.index("go on", position)
        position = kinds.index("queued", start)
        assert "sync" in kinds[start:position], f"message {number} was accepted without a sync: {kinds}"


@test("a body too large for a row is on disk before its 250 as well")
def _():
    path, server = traced()
    with server:
        server.send(message("large", b"0123456789abcdef\r\n" * 20000), ["alice@example.org"])
        server.wait_mail("alice", 1)
    kinds = [kind for kind, _ in Trace(path, server.spool).events]
    between = kinds[kinds.index("go on"): kinds.index("queued")]
    assert between.count("sync") >= 2, f"the body's file and the row: {kinds}"


@test("with sixteen sessions one fdatasync serves several messages", limit=120)
def _():
    path, server = traced()
    count = 800
    with server:
        done = run("smtp-source", "-d", "-s", 16, "-m", count, "-l", 4096, "-f", "sender@example.net", "-t", "alice@example.org", f"127.0.0.1:{server.port}")
        assert done.returncode == 0, done.out
        server.wait_mail("alice", count, timeout=60)
    trace = Trace(path, server.spool)
    kinds = [kind for kind, _ in trace.events]
    assert kinds.count("queued") == count, kinds.count("queued")
    last = len(kinds) - 1 - kinds[::-1].index("queued")
    syncs = kinds[:last].count("sync")
    print(f"     {count} messages accepted, {syncs} syncs of the spool until then", flush=True)
    assert 0 < syncs < count / 2, f"{syncs} syncs for {count} messages"
