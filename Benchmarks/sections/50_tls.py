"""TLS: sessions set up per second, new and resumed (openssl s_time, at a port that is in TLS from the first octet), and 4 KiB messages per
second after STARTTLS. Both servers show the same P-256 certificate.

The clients' share of the work is the same for both and, for a new session, larger than the server's: on two cores it bounds the first
figures. So there are also the sessions by the server's own time on a processor, all its processes together.
"""

import multiprocessing
import os
import pathlib
import re
import socket
import ssl
import subprocess
import time

from kit import DOMAIN, USER, count, free_port, is_listening, table, wait_for

SECONDS = 4
# sessions, messages per round and server
LOADS = [(1, 1500), (16, 4000)]
LETTER = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 52 + b".\r\n"


def certificate(directory):
    """(chain, key)"""
    chain, key = directory / "chain.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN=mx.{DOMAIN}",
                    "-keyout", key, "-out", chain], check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return chain, key


def set_ups(port, how, clients=2):
    """Sessions per second, of that many clients at once."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", how, "-time", str(SECONDS), "-tls1_2" if how == "-reuse" else "-tls1_3"]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(clients)]
    made = 0
    for process in running:
        out = process.communicate()[0].decode()
        real = re.findall(r"(\d+) connections in (\d+) real seconds", out)
        if not real:
            raise SystemExit(f"openssl s_time: {out}")
        made += int(real[-1][0]) / max(1, int(real[-1][1]))
    return made


def processor_seconds(server):
    """Of all its processes, those that have ended too."""
    if server.name == "Valija":
        root = server.process.pid
    else:
        root = int((server.directory / "queue/pid/master.pid").read_text())
    ticks, parents = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields, pid = fields.split(), int(name.split()[0])
        parents[pid], ticks[pid] = int(fields[1]), sum(int(field) for field in fields[11:15])
    family = {root} | {pid for pid in parents if parents[pid] == root}
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def session(port, messages):
    """One client: STARTTLS, then its messages, a transaction in two writes."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(channel, octets, lines):
        if octets:
            channel.sendall(octets)
        said = b""
        while len(re.findall(rb"(?m)^\d{3} .*\r\n", said)) < lines:
            more = channel.recv(65536)
            if not more:
                raise SystemExit(f"connection closed after {said}")
            said += more
        return said

    ask(raw, b"", 1)
    ask(raw, b"EHLO client.example.net\r\n", 1)
    ask(raw, b"STARTTLS\r\n", 1)
    channel = ssl._create_unverified_context().wrap_socket(raw)
    ask(channel, b"EHLO client.example.net\r\n", 1)
    for _ in range(messages):
        ask(channel, f"MAIL FROM:<sender@example.net>\r\nRCPT TO:<{USER}@{DOMAIN}>\r\nDATA\r\n".encode(), 3)
        said = ask(channel, LETTER, 1)
        if not said.startswith(b"250"):
            raise SystemExit(f"refused: {said}")
    ask(channel, b"QUIT\r\n", 1)


def messages(server, sessions, number):
    started = time.monotonic()
    workers = [multiprocessing.Process(target=session, args=(server.port, number // sessions)) for _ in range(sessions)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a client of {server.name} failed")
    taken = time.monotonic() - started
    sent = number // sessions * sessions
    wait_for(lambda: count(server.maildir) >= sent, timeout=300, every=0.02)
    server.maildir.rename(server.maildir.with_name(f"done-{os.urandom(4).hex()}"))
    os.sync()
    return sent / taken


def run(bench):
    chain, key = certificate(bench.directory)
    implicit = {"Valija": free_port(), "Postfix": free_port()}
    extra = f"tls: {{ level: may, certificate: {chain}, key: {key} }}\n"
    main = f"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {key}, {chain}\nsmtpd_tls_session_cache_database =\n"
    master = f"""\
127.0.0.1:{implicit["Postfix"]} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
tlsmgr unix - - n 1000? 1 tlsmgr
"""
    servers = bench.pair(valija={"extra": extra, "submissions": implicit["Valija"]}, postfix={"main": main, "master": master})
    for server in servers:
        wait_for(lambda: is_listening(implicit[server.name]))
    rows = []
    for label, how in [("new (TLS 1.3)", "-new"), ("resumed (TLS 1.2)", "-reuse")]:
        figures, by_time = {}, {}
        for _ in range(bench.rounds):
            for server in servers:
                before = processor_seconds(server)
                rate = set_ups(implicit[server.name], how)
                figures.setdefault(server.name, []).append(rate)
                by_time.setdefault(server.name, []).append(rate * SECONDS / max(0.01, processor_seconds(server) - before))
        rows += [(label, figures), ("  by the server's processor time", by_time)]
    table("TLS sessions set up/s", servers, rows)
    rows = []
    for sessions, number in LOADS:
        figures = {}
        for _ in range(bench.rounds):
            for server in servers:
                figures.setdefault(server.name, []).append(messages(server, sessions, max(sessions, int(number * bench.scale))))
        rows.append((f"{sessions:>3} sessions, accepted", figures))
    table("messages/s over TLS, 4 KiB", servers, rows)
    bench.remove()
