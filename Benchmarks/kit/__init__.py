"""What the sections of the benchmark share: the two servers, a load, and the table of figures.

A server is started by the section that needs it, with the settings that it needs, and lives in a directory of its own below
that of the run. Every server listens on free ports of 127.0.0.1.
"""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("VALIJA", ROOT / ".build-static/release/valija")).resolve()
USER = "valijabench"
DOMAIN = "bench.example"
SIZE = 4096


def own_part(directory, name):
    """A directory for one server, in a part of the disk of its own: ext4 without a journal looks long for a free inode where
    many were deleted in the last minutes, as Postfix's queue files are, and as an earlier run's are. With the flag T (top of a
    hierarchy), a subdirectory's part follows from its name. On other file systems the flag means nothing."""
    subprocess.run(["chattr", "+T", directory], stderr=subprocess.DEVNULL, check=False)
    return directory / f"{name}-{os.urandom(4).hex()}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, timeout=60, every=0.005):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {timeout} s: {condition}")
        time.sleep(every)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Valija:
    name = "Valija"

    def __init__(self, directory, users=f"  {USER}: {{}}\n", connections=200, extra="", submission=None, submissions=None):
        """`users`: the lines below that key; `extra`: further keys of the manifest, at its top level."""
        self.directory, self.port, self.health_port = own_part(directory, "valija"), free_port(), free_port()
        self.maildir = self.directory / "mail" / USER / "new"
        (self.directory / "mail").mkdir(parents=True)
        (self.directory / "spool").mkdir()
        services = {"submission": submission, "submissions": submissions}
        listeners = [f', {name}: ["127.0.0.1:{port}"]' for name, port in services.items() if port]
        self.manifest = self.directory / "mail.yaml"
        self.manifest.write_text(f"""\
apiVersion: valija/v1
hostname: mx.{DOMAIN}
origin: {DOMAIN}
domains:
  {DOMAIN}: {{}}
users:
{users}aliases:
  postmaster: {USER}
limits: {{ connections_per_client: {connections}, mailbox_size: 0 }}
mailboxes: {{ format: maildir, directory: {self.directory}/mail }}
queue: {{ directory: {self.directory}/spool }}
listen: {{ smtp: ["127.0.0.1:{self.port}"], health: ["127.0.0.1:{self.health_port}"]{"".join(listeners)} }}
{extra}""")
        self.process = None

    def start(self):
        """Starts it; returns the seconds until its log says that it is ready."""
        log_path = self.directory / "log"
        with open(log_path, "wb") as log:
            started = time.monotonic()
            self.process = subprocess.Popen([BINARY, "serve", self.manifest], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: b'"service.ready"' in log_path.read_bytes() or self.process.poll() is not None, every=0.002)
        if self.process.poll() is not None:
            raise SystemExit(f"valija serve ended:\n{log_path.read_text()}")
        return time.monotonic() - started

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def remove(self):
        self.stop()

    def memory(self):
        """(VmRSS, Pss) in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        pick = lambda text, field: next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field + ":"))
        return pick(status, "VmRSS"), pick(rollup, "Pss")


class Postfix:
    name = "Postfix"

    def __init__(self, directory, main="", master=""):
        """`main` and `master`: further lines of the two files; a later line of a parameter wins over an earlier one."""
        self.directory, self.port = own_part(directory, "postfix"), free_port()
        self.maildir = self.directory / "mail" / USER / "new"
        self.configuration = self.directory / "etc"
        for part in ("etc", "queue", "data", "mail"):
            (self.directory / part).mkdir(parents=True)
        shutil.chown(self.directory / "data", "postfix")
        try:
            self.user = pwd.getpwnam(USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER], check=True)
            self.user = pwd.getpwnam(USER)
        (self.directory / "mail" / USER).mkdir()
        os.chown(self.directory / "mail" / USER, self.user.pw_uid, self.user.pw_gid)
        (self.configuration / "main.cf").write_text(f"""\
compatibility_level = 3.6
queue_directory = {self.directory}/queue
data_directory = {self.directory}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.directory}/log
maillog_file_prefixes = {self.directory}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.{DOMAIN}
mydestination = {DOMAIN}
alias_maps =
alias_database =
local_recipient_maps =
mail_spool_directory = {self.directory}/mail/
mailbox_size_limit = 0
smtpd_client_connection_count_limit = 0
default_process_limit = 200
{main}""")
        (self.configuration / "master.cf").write_text(f"""\
127.0.0.1:{self.port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
{master}""")

    def command(self, *words, check=True):
        subprocess.run(["postfix", "-c", self.configuration, *words], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        self.command("check", check=False)
        self.command("start")
        wait_for(lambda: is_listening(self.port))

    def stop(self):
        self.command("stop", check=False)

    def remove(self):
        self.stop()
        subprocess.run(["userdel", USER], check=False, stderr=subprocess.DEVNULL)


def count(maildir):
    try:
        return len(os.listdir(maildir))
    except FileNotFoundError:
        return 0


def measure(server, sessions, messages, options):
    """(accepted per second, in the mailbox per second) for one run of smtp-source. The mailbox is empty before and afterwards."""
    started = time.monotonic()
    done = subprocess.run(["smtp-source", *options, "-s", str(sessions), "-l", str(SIZE), "-m", str(messages), "-M", "client.example.net",
                           "-f", "sender@example.net", "-t", f"{USER}@{DOMAIN}", f"127.0.0.1:{server.port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    accepted = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(f"smtp-source against {server.name}: {done.stdout.decode()}")
    wait_for(lambda: count(server.maildir) >= messages, timeout=300, every=0.02)
    delivered = time.monotonic() - started
    if count(server.maildir) != messages:
        raise SystemExit(f"{server.name}: {count(server.maildir)} letters of {messages}")
    # Put aside, not deleted: see own_part.
    server.maildir.rename(server.maildir.with_name(f"done-{os.urandom(4).hex()}"))
    os.sync()
    time.sleep(0.5)
    return messages / accepted, messages / delivered




def table(title, servers, rows, digits=0):
    """Prints medians with their spans, and the first server's as a multiple of the second's. `rows`: a label, and for each
    server's name its figures."""
    print(f"\n{title:34}" + "".join(f"{server.name:>20}" for server in servers) + (f"{'ratio':>8}" if len(servers) > 1 else ""))
    for label, figures in rows:
        medians = [statistics.median(figures[server.name]) for server in servers]
        cells = [f"{median:.{digits}f} ({min(figures[server.name]):.{digits}f}-{max(figures[server.name]):.{digits}f})" for median, server in zip(medians, servers)]
        print(f"{label:34}" + "".join(f"{cell:>20}" for cell in cells) + (f"{medians[0] / medians[1]:>8.1f}" if len(servers) > 1 else ""), flush=True)


class Bench:
    """One run: its directory, its options, and every server that it made, to be stopped whatever happens."""

    def __init__(self, directory, rounds, scale, with_postfix):
        self.directory, self.rounds, self.scale, self.with_postfix = directory, rounds, scale, with_postfix
        self.made = []

    def valija(self, **settings):
        return self.keep(Valija(self.directory, **settings))

    def postfix(self, **settings):
        return self.keep(Postfix(self.directory, **settings))

    def keep(self, server):
        """Also for servers of a section's own: whatever has `remove`."""
        self.made.append(server)
        return server

    def pair(self, valija={}, postfix={}):
        """Both servers, started; without Postfix where the run is."""
        servers = [self.valija(**valija)] + ([self.postfix(**postfix)] if self.with_postfix else [])
        for server in servers:
            server.start()
        return servers

    def remove(self):
        for server in self.made:
            server.remove()
        self.made = []
