"""Mail relayed through to smtp-sink, which stores nothing: 4 KiB, from 1 and 16 sessions; and mail for 1,000 destinations of which
a tenth are dead, half of those refusing connections and half taking them and saying nothing.

A figure is messages by the time from the first one sent until the last one is at the sink; of the 1,000 destinations, the last
one of those that are alive.
"""

import os
import re
import smtplib
import socket
import subprocess
import threading
import time

from kit import free_port, is_listening, table, wait_for

SIZE = 4096
# sessions, messages per round and server
LOADS = [(1, 2000), (16, 6000)]
DESTINATIONS, EACH = 1000, 5
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


def submit(server, numbers):
    def work(part):
        with smtplib.SMTP("127.0.0.1", server.port, "client.example.net", 60) as client:
            for number in part:
                client.sendmail("sender@example.net", [f"x@d{number}.example"], b"Subject: x\r\n\r\n" + b"x" * 4000 + b"\r\n")

    workers = [threading.Thread(target=work, args=(numbers[n::8],)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def destinations(bench):
    sink, refusing = bench.keep(Sink()), free_port()
    # Never accepts: the kernel takes a few connections, and lets the others wait.
    silent = socket.create_server(("0.0.0.0", 0), backlog=1024)
    ports = {None: sink.port, REFUSING: refusing, SILENT: silent.getsockname()[1]}
    hops = {f"d{n}.example": f"[127.7.{n // 250}.{n % 250 + 1}]:{ports[kind(n)]}" for n in range(DESTINATIONS)}
    routes = "networks: [127.0.0.0/8]\nroutes:\n" + "".join(f"  {domain}: \"{hop}\"\n" for domain, hop in hops.items())
    transports = bench.directory / "transports"
    transports.write_text("".join(f"{domain} smtp:{hop}\n" for domain, hop in hops.items()))
    servers = bench.pair(valija={"extra": routes}, postfix={"main": f"transport_maps = texthash:{transports}\n"})
    numbers = [n for _ in range(max(1, int(EACH * bench.scale))) for n in range(DESTINATIONS)]
    alive = sum(kind(n) is None for n in numbers)
    figures = {}
    for server in servers:
        before, started = sink.count, time.monotonic()
        submit(server, numbers)
        wait_for(lambda: sink.count - before >= alive, timeout=600, every=0.01)
        figures[server.name] = [alive / (time.monotonic() - started)]
    silent.close()
    table("messages/s, 1,000 destinations", servers, [("a tenth of them dead, to the living", figures)])


def run(bench):
    relay(bench)
    destinations(bench)
