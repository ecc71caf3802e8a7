"""Logins: what hashes that cost much do to everybody else's replies, and how many logins there are in a second.

Postfix asks Dovecot, which checks the passwords; both look into a list of the same users with the same hashes. Clients log in
by PLAIN in clear, each login on a connection of its own, over and over.

The reply time is that of NOOP on a session that has nothing to do with the logins, at the same port. It is measured on a machine
that the clients and the hashes keep busy on all processors, so the first line of each table is the one to compare with.
"""

import base64
import multiprocessing
import shutil
import subprocess
import time

from kit import BINARY, DOMAIN, USER, free_port, is_listening, table, wait_for
from kit.client import Client

PASSWORD = "correct horse"
SECONDS = 4
PAUSE = 0.002  # between two NOOPs
NOOPS = 50  # of one session: servers lose patience with those who say nothing else
CROWDS = [0, 4, 16]  # clients that log in
LOGGERS = 16


def hashed(scheme):
    return subprocess.run([BINARY, "password", "--scheme", scheme], input=f"{PASSWORD}\n".encode(), check=True, stdout=subprocess.PIPE).stdout.decode().strip()


class Dovecot:
    """Answers Postfix about logins, and does nothing else."""

    def __init__(self, postfix, users):
        self.home = postfix.directory / "dovecot"
        self.home.mkdir()
        (self.home / "users").write_text(users)
        self.socket = postfix.directory / "queue/private/auth"
        (self.home / "dovecot.conf").write_text(f"""\
base_dir = {self.home}/run
state_dir = {self.home}/state
log_path = {self.home}/log
instance_name = {self.home.parent.name}
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = {self.home}/users
}}
service auth {{
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
""")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.home / "dovecot.conf"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.home / "errors", "ab"))
        wait_for(self.socket.exists)

    def remove(self):
        self.process.terminate()
        self.process.wait(20)


def log_in(port, end, made):
    """Until it is `end`, as often as it comes to; the number of logins goes to `made`."""
    words = b"AUTH PLAIN " + base64.b64encode(f"\0user0\0{PASSWORD}".encode()) + b"\r\n"
    number = 0
    while time.monotonic() < end:
        try:
            session = Client(port, 60)
            said = session.ask(words)
            session.close()
        except OSError:
            continue
        # Postfix waits ten seconds for Dovecot, and then answers 454 or ends the session: no login, and no error of the client's.
        number += 1 if said.startswith(b"235") and time.monotonic() < end else 0
    made.put(number)


def crowd(port, clients, seconds, meanwhile=lambda end: None):
    """(logins per second, what `meanwhile` gave) of that many clients at once."""
    made, end = multiprocessing.Queue(), time.monotonic() + seconds
    workers = [multiprocessing.Process(target=log_in, args=(port, end, made)) for _ in range(clients)]
    for worker in workers:
        worker.start()
    result = meanwhile(end)
    numbers = [made.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(numbers) / seconds, result


def noops(port):
    """Milliseconds of each reply until `end`."""

    def measure(end):
        session, times = Client(port, 60), []
        while time.monotonic() < end:
            if times and len(times) % NOOPS == 0:
                session.close()
                session = Client(port, 60)
            started = time.monotonic()
            if not session.ask(b"NOOP\r\n").startswith(b"250"):
                raise SystemExit("NOOP refused")
            times.append((time.monotonic() - started) * 1000)
            time.sleep(PAUSE)
        session.close()
        return sorted(times)

    return measure


def pair(bench, hash):
    """Both servers, which know a user of that hash; {name: port where users log in}."""
    ports = {"Valija": free_port(), "Postfix": free_port()}
    users = f"  {USER}: {{}}\n  user0: {{ password: \"{hash}\" }}\n"
    master = f"127.0.0.1:{ports['Postfix']} inet n - n - - smtpd\n  -o smtpd_sasl_auth_enable=yes\n"
    main = "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_client_connection_rate_limit = 0\n"
    servers = bench.pair(valija={"users": users, "submission": ports["Valija"], "extra": "submission: { tls_auth_only: false }\n"},
                         postfix={"main": main, "master": master})
    for server in servers:
        if server.name == "Postfix":
            bench.keep(Dovecot(server, f"user0:{{CRYPT}}{hash}::::::\n"))
        wait_for(lambda: is_listening(ports[server.name]))
    return servers, ports


def run(bench):
    if bench.with_postfix and not shutil.which("dovecot"):
        raise SystemExit("Postfix checks logins by Dovecot: apt-get install dovecot-core")
    servers, ports = pair(bench, hashed("bcrypt"))
    rows, rates = [], []
    for clients in CROWDS:
        figures = {"p50": {}, "p99": {}}
        logins = {}
        for _ in range(bench.rounds):
            for server in servers:
                rate, times = crowd(ports[server.name], clients, SECONDS, noops(ports[server.name]))
                for name, part in (("p50", 0.5), ("p99", 0.99)):
                    figures[name].setdefault(server.name, []).append(times[int(len(times) * part)])
                logins.setdefault(server.name, []).append(rate)
        label = f"{clients:>3} clients log in" if clients else "  nobody logs in"
        rows += [(f"{label}, {name}", figures[name]) for name in figures]
        if clients:
            rates.append((f"{clients:>3} clients, bcrypt cost 12", logins))
    table("ms until the reply to NOOP", servers, rows, digits=2)
    bench.remove()
    servers, ports = pair(bench, hashed("sha512crypt"))
    figures = {}
    for _ in range(bench.rounds):
        for server in servers:
            figures.setdefault(server.name, []).append(crowd(ports[server.name], LOGGERS, SECONDS)[0])
    rates.append((f"{LOGGERS:>3} clients, sha512-crypt", figures))
    table("logins/s by PLAIN", servers, rates, digits=1)
    bench.remove()
