"""TLS: sessions set up per second, new and resumed, at a port that is in TLS from the first octet, and 4 KiB messages per second after
STARTTLS. Both servers show the same P-256 certificate.

The clients are kit/handshakes.c and kit/tlsmessages.c, which cost as little as OpenSSL allows. The first says QUIT after the greeting. Its
processes run on one core and the server on another, so that neither takes time from the other; where the clients' core is busy all the
time, the server could do more. What a session costs is therefore also given by the server's own processor time, all its processes
together, whatever the clients took.
"""

import os
import pathlib
import shutil
import subprocess
import time

from kit import ROOT, DOMAIN, SIZE, USER, count, free_port, is_listening, table, wait_for

SECONDS = 4
CLIENTS = 4
SESSIONS = [("new", "1.3"), ("resumed", "1.3"), ("resumed", "1.2")]
# sessions, messages per round and server
LOADS = [(1, 1500), (16, 4000)]


def certificate(directory):
    """(chain, key)"""
    chain, key = directory / "chain.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN=mx.{DOMAIN}",
                    "-keyout", key, "-out", chain], check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return chain, key


def client(directory, name):
    """One of the programs of kit."""
    compiler = next(filter(None, map(shutil.which, ("cc", "clang"))), None)
    if not compiler:
        raise SystemExit("no C compiler: Swift's toolchain has clang")
    program = directory / name
    subprocess.run([compiler, "-O2", "-o", program, ROOT / f"Benchmarks/kit/{name}.c", "-lssl", "-lcrypto"], check=True)
    return program


def set_ups(program, server, port, how, version, core):
    """Sessions per second, those by the server's processor time, and how busy the clients and the server were."""
    before = processor_seconds(server)
    out = subprocess.run([program, str(port), str(SECONDS), str(CLIENTS), how, version], stdout=subprocess.PIPE, check=True,
                         preexec_fn=lambda: core is None or os.sched_setaffinity(0, {core})).stdout.decode()
    used = max(0.01, processor_seconds(server) - before)
    made, resumed, clients = int(out.split()[0]), int(out.split()[1]), float(out.split()[2])
    if resumed != (made if how == "resumed" else 0):
        raise SystemExit(f"{server.name}: of {made} sessions {resumed} were resumed")
    return made / SECONDS, made / used, 100 * clients / SECONDS, 100 * used / SECONDS


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


def messages(program, server, sessions, number):
    sent = number // sessions * sessions
    started = time.monotonic()
    subprocess.run([program, str(server.port), str(sessions), str(sent), f"{USER}@{DOMAIN}", str(SIZE)], stdout=subprocess.DEVNULL, check=True)
    taken = time.monotonic() - started
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
    program, sender = client(bench.directory, "handshakes"), client(bench.directory, "tlsmessages")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[:1])  # what is started now keeps it
    servers = bench.pair(valija={"extra": extra, "submissions": implicit["Valija"]}, postfix={"main": main, "master": master})
    os.sched_setaffinity(0, cores)
    for server in servers:
        wait_for(lambda: is_listening(implicit[server.name]))
    rows = []
    busy = []
    for how, version in SESSIONS:
        made, by_time = {}, {}
        for _ in range(bench.rounds):
            for server in servers:
                found = set_ups(program, server, implicit[server.name], how, version, cores[1] if len(cores) > 1 else None)
                made.setdefault(server.name, []).append(found[0])
                by_time.setdefault(server.name, []).append(found[1])
                busy.append((server.name, *found[2:]))
        rows += [(f"{how} (TLS {version})", made), ("  by the server's processor time", by_time)]
    table("TLS sessions/s", servers, rows)
    for server in servers:
        clients, own = ([figures[n] for figures in busy if figures[0] == server.name] for n in (1, 2))
        print(f"  {server.name}: the clients' core is busy for {min(clients):.0f} to {max(clients):.0f} % of the time, the server's {min(own):.0f} to {max(own):.0f} %")
    for server in servers:
        server.stop()
        server.start()
        wait_for(lambda: is_listening(server.port))
    rows = []
    for sessions, number in LOADS:
        figures = {}
        for _ in range(bench.rounds):
            for server in servers:
                figures.setdefault(server.name, []).append(messages(sender, server, sessions, max(sessions, int(number * bench.scale))))
        rows.append((f"{sessions:>3} sessions, accepted", figures))
    table("messages/s over TLS, 4 KiB", servers, rows)
    bench.remove()
