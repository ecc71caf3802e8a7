"""A queue of 1,000,000 deferred messages: start to ready, listing, one site and all tried again, hold, release, requeue, expire, delete,
a stop, and memory; and beside each, how long a client that sends a message every 10 ms waits for the reply to its content.

The messages are written into the spool's database directly, in the order of a year of arrivals; each has a recipient at one of 1,000
domains and a content of 500 octets. The next hop refuses connections. Without Postfix, whose queue of that size takes an hour to fill.
"""

import multiprocessing
import sqlite3
import subprocess
import time

from kit import BINARY, DOMAIN, USER, free_port
from kit.client import Client

MESSAGES = 1_000_000
CONTENT = b"From: list@bench.example\r\nSubject: queued\r\n\r\n" + b"x" * 455


def fill(spool, count):
    database = sqlite3.connect(spool / "spool.db")
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;")
    now = int(time.time() * 1_000_000)
    first = now - 365 * 86_400 * 1_000_000 // 4
    step = (now - first) // count
    due = now + 36_000 * 1_000_000
    with database:
        database.executemany("INSERT INTO message VALUES(?,'list@bench.example',?,500,0,NULL,?,1,NULL,0,0,NULL)",
                             ((first + n * step, now - 3_600_000_000, due + n) for n in range(count)))
        database.executemany("INSERT INTO recipient VALUES(?,0,?,?,NULL,0,NULL,0,451,'4.4.1','connect to mx.example[192.0.2.1]:25: Connection timed out','none',NULL,1)",
                             ((first + n * step, *(f"reader{n}@d{n % 1000}.example",) * 2) for n in range(count)))
        database.executemany("INSERT INTO body VALUES(?,?)", ((first + n * step, CONTENT) for n in range(count)))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def probe(port, times, isOver):
    """A client that sends a small message every 10 ms, and notes the seconds from its end to the reply."""
    with Client(port) as client:
        while not isOver.is_set():
            client.begin(f"{USER}@{DOMAIN}")
            started = time.monotonic()
            client.expect(b"Subject: x\r\n\r\nx\r\n.\r\n")
            times.put(time.monotonic() - started)
            time.sleep(0.01)


class Prober:
    """Such a client while the block runs; `said`: what it saw."""

    def __init__(self, port):
        self.times, self.isOver, self.seen = multiprocessing.Queue(), multiprocessing.Event(), []
        self.process = multiprocessing.Process(target=probe, args=(port, self.times, self.isOver))

    def __enter__(self):
        self.process.start()
        self.seen.append(self.times.get())
        return self

    def __exit__(self, *_):
        self.isOver.set()
        while self.process.is_alive() or not self.times.empty():
            try:
                self.seen.append(self.times.get(timeout=0.05))
            except Exception:  # queue.Empty
                pass
        self.seen = sorted(self.seen)

    @property
    def said(self):
        pick = lambda part: self.seen[min(len(self.seen) - 1, int(len(self.seen) * part))] * 1000
        return f"{pick(0.5):>5.0f} {pick(0.99):>5.0f} {self.seen[-1] * 1000:>5.0f} ms of {len(self.seen)}"


def run(bench):
    count = int(MESSAGES * bench.scale)
    server = bench.valija(extra=f"relayhost: \"[127.0.0.1]:{free_port()}\"\nnetworks: [127.0.0.0/8]\n")
    server.start()
    server.stop()
    started = time.monotonic()
    fill(server.directory / "spool", count)
    size = (server.directory / "spool/spool.db").stat().st_size
    print(f"\nfilled with {count:,} messages in {time.monotonic() - started:.0f} s: {size / 1e9:.1f} GB")

    def memory():
        with open(f"/proc/{server.process.pid}/status") as file:
            return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 1024

    def timed(label, *words, until=lambda: True):
        with Prober(server.port) as prober:
            started = time.monotonic()
            process = subprocess.Popen([BINARY, "queue", *words, "--manifest", server.manifest], stdout=subprocess.PIPE)
            lines, octets = 0, 0
            while chunk := process.stdout.read(1 << 20):
                lines, octets = lines + chunk.count(b"\n"), octets + len(chunk)
            code = process.wait()
            taken = time.monotonic() - started
        print(f"{label:34}{taken:>8.1f} s, {octets / 1e6:>7.1f} MB out, exit {code}; {memory():>5.0f} MiB at most; {prober.said}", flush=True)
        return lines

    print(f"{'start to ready':34}{server.start():>8.1f} s; {memory():.0f} MiB at most")
    with Prober(server.port) as prober:
        time.sleep(3)
    print(f"{'accepting beside it: half of the replies, 99 of 100, all of them within ':>82}{prober.said}")
    assert timed("list --json", "list", "--json") >= count
    timed("list", "list")
    timed("flush --to one of 1,000 domains", "flush", "--to", "d7.example", "--json")
    timed("hold ALL", "hold", "ALL")
    timed("requeue ALL", "requeue", "ALL")
    timed("hold ALL, some under way", "hold", "ALL")
    timed("release ALL", "release", "ALL")
    timed("flush", "flush")
    with Prober(server.port) as prober:
        time.sleep(5)
    print(f"{'five seconds of attempts':34}{memory():>8.0f} MiB at most; {prober.said}")
    started = time.monotonic()
    server.stop()
    print(f"{'stop':34}{time.monotonic() - started:>8.1f} s")
    print(f"{'start to ready, all due':34}{server.start():>8.1f} s; {memory():.0f} MiB at most")
    timed("expire ALL, to be reported", "expire", "ALL")
    timed("delete ALL", "delete", "ALL")
