"""Mail relayed through to smtp-sink, which stores nothing: 4 KiB, from 1 and 16 sessions; and mail for 1,000 destinations of which
a tenth are dead, half of those refusing connections and half taking them and saying nothing.

A figure is messages by the time from the first one sent until the last one is at the sink; of the 1,000 destinations, the last
one of those that are alive, or the half minute after which a run ends.
"""

import multiprocessing
import os
import re
import socket
import subprocess
import threading
import time

from kit import free_port, is_listening, table, wait_for
from kit.client import Client

SIZE = 4096
LETTER = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 52 + b".\r\n"
# sessions, messages per round and server
LOADS = [(1, 2000), (16, 6000)]
DESTINATIONS = 1000
# Messages for each of them: in runs of their own.
EACH = [1, 5]
CLIENTS = 8
# Then it is over: a server that waits for the silent before it serves the living would take minutes.
MOST_SECONDS = 30
REFUSING, SILENT = "refusing", "silent"


class Sink:
    """smtp-sink at every address of loopback; counts the messages that it took."""

    def __init__(self):
        self.port = free_port()
        as_root = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(["smtp-sink", *as_root, "-c", "-m", "5000", f"0.0.0.0:{self.port}", "1024"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.count = 0
        threading.Thread(target=self.read, daemon=True).start()
        wait_for(lambda: is_listening(self.port))

    def read(self):
        rest = b""
        while more := os.read(self.process.stdout.fileno(), 65536):
            rest = (rest + more)[-4096:]
            found = re.findall(rb"mesg=(\d+)", rest)
            if found:
                self.count = int(found[-1])

    def remove(self):
        self.process.kill()
        self.process.wait()


def through(sink, server, sessions, messages):
    """Messages per second from smtp-source through the server to the sink."""
    before, started = sink.count, time.monotonic()
    done = subprocess.run(["smtp-source", "-s", str(sessions), "-l", str(SIZE), "-m", str(messages), "-M", "client.example.net", "-f", "sender@example.net",
                           "-t", "someone@elsewhere.example", f"127.0.0.1:{server.port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise SystemExit(f"smtp-source against {server.name}: {done.stdout.decode()}")
    wait_for(lambda: sink.count - before >= messages, timeout=300, every=0.005)
    return messages / (time.monotonic() - started)


def relay(bench):
    sink = bench.keep(Sink())
    extra = f"networks: [127.0.0.0/8]\nrelayhost: \"[127.0.0.1]:{sink.port}\"\n"
    servers = bench.pair(valija={"extra": extra}, postfix={"main": f"relayhost = [127.0.0.1]:{sink.port}\n"})
    rows = []
    for sessions, messages in LOADS:
        figures = {}
        for _ in range(bench.rounds):
            for server in servers:
                figures.setdefault(server.name, []).append(through(sink, server, sessions, max(sessions, int(messages * bench.scale))))
        rows.append((f"{sessions:>3} sessions, at the sink", figures))
    table("messages/s relayed, 4 KiB", servers, rows)
    bench.remove()


def kind(number):
    return {0: REFUSING, 10: SILENT}.get(number % 20)


def session(port, numbers):
    """One client: a message for each of these destinations."""
    with Client(port) as client:
        for number in numbers:
            client.send(f"x@d{number}.example", LETTER)
        client.expect(b"QUIT\r\n")


def submit(server, numbers):
    workers = [multiprocessing.Process(target=session, args=(server.port, numbers[n::CLIENTS])) for n in range(CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a client of {server.name} failed")


def spread(bench, rows, each):
    """`each` messages for every destination. A server starts afresh for it: what it knows of the dead it would know of the next."""
    sink, refusing = bench.keep(Sink()), free_port()
    # Never accepts: the kernel completes connections, and nobody says a word on them.
    silent = socket.create_server(("0.0.0.0", 0), backlog=4096)
    ports = {None: sink.port, REFUSING: refusing, SILENT: silent.getsockname()[1]}
    hops = {f"d{n}.example": f"[127.7.{n // 250}.{n % 250 + 1}]:{ports[kind(n)]}" for n in range(DESTINATIONS)}
    routes = "networks: [127.0.0.0/8]\nroutes:\n" + "".join(f"  {domain}: \"{hop}\"\n" for domain, hop in hops.items())
    transports = bench.directory / "transports"
    transports.write_text("".join(f"{domain} smtp:{hop}\n" for domain, hop in hops.items()))
    servers = bench.pair(valija={"extra": routes}, postfix={"main": f"transport_maps = texthash:{transports}\n"})
    numbers = [n for _ in range(each) for n in range(DESTINATIONS)]
    alive = sum(kind(n) is None for n in numbers)
    figures, cut = {}, []
    for server in servers:
        before, started = sink.count, time.monotonic()
        submit(server, numbers)
        while (got := sink.count - before) < alive and time.monotonic() - started < MOST_SECONDS:
            time.sleep(0.01)
        figures[server.name] = [got / (time.monotonic() - started)]
        if got < alive:
            cut.append(f"  {server.name}: {got} of {alive} were at the sink after {MOST_SECONDS} s")
    silent.close()
    bench.remove()
    rows.append((f"{each} each, to the living", figures))
    return servers, cut


def destinations(bench):
    rows, cut = [], []
    for each in EACH if bench.scale >= 1 else EACH[:1]:
        servers, late = spread(bench, rows, each)
        cut += late
    table("messages/s, 1,000 destinations", servers, rows)
    for line in cut:
        print(line)


def run(bench):
    relay(bench)
    destinations(bench)
