"""10,000 sessions that are open and say nothing: what they cost in memory, and how fast one of them is answered.

The reply time is that of NOOP, 2,000 times, one after the other: over 40 sessions in turn while there are no more, then over all
(more than a hundred of NOOP would end a session). Valija alone: Postfix has a process for each session, and is not made for that.
"""

import resource
import socket
import statistics
import time

SESSIONS = 10_000
FEW = 40
PROBES = 2_000


def opened(port):
    """A session that was greeted and said EHLO."""
    session = socket.create_connection(("127.0.0.1", port), timeout=30)
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session.recv(512)
    session.sendall(b"EHLO client.example.net\r\n")
    session.recv(2048)
    return session


def reply_times(sessions):
    """Milliseconds, sorted."""
    times = []
    for number in range(PROBES):
        session = sessions[number * 7919 % len(sessions)]
        started = time.perf_counter()
        session.sendall(b"NOOP\r\n")
        reply = session.recv(512)
        times.append((time.perf_counter() - started) * 1000)
        if not reply.startswith(b"250"):
            raise SystemExit(f"NOOP was answered {reply!r}")
    return sorted(times)


def run(bench):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SESSIONS + 500:
        print(f"\n10,000 idle sessions              left out: this system allows {hard} descriptors a process")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = bench.valija(connections=SESSIONS + 100)
    server.start()
    sessions = [opened(server.port) for _ in range(FEW)]
    alone = reply_times(sessions)
    before, _ = server.memory()
    started = time.monotonic()
    sessions += [opened(server.port) for _ in range(SESSIONS)]
    seconds = time.monotonic() - started
    after, _ = server.memory()
    crowded = reply_times(sessions)
    print()
    for label, times in ((f"{FEW} sessions", alone), ("10,000 idle sessions", crowded)):
        print(f"reply time, {label:22}{statistics.median(times):.2f} ms, 99 of 100 within {times[PROBES * 99 // 100]:.2f} ms")
    print(f"memory, 10,000 idle sessions      {after / 1024:.1f} MiB resident, {(after - before) / SESSIONS:.1f} KiB each; opened in {seconds:.1f} s")
    for session in sessions:
        session.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
