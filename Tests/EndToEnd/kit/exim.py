"""Debian's Exim, with a configuration of the test's own: a daemon that takes mail at a port, and hands it to routers.

The program is what `scripts/install test` unpacked: as packages, Exim and Postfix exclude each other.
"""

import os
import pathlib
import tempfile

from .addresses import free_port, wait_for
from .daemon import Daemon
from .server import SCRATCH, run

PROGRAM = pathlib.Path("/usr/local/lib/valija-test/exim/usr/sbin/exim4")
ACCOUNT = "Debian-exim"


class Exim(Daemon):
    """`with Exim(routers="…", transports="…") as exim`: the sections of its configuration, each the lines below its `begin`;
    `main` are settings of the first section, after those below. Mail may be sent through it from loopback.

    `mail` is a directory for transports to write into, `@MAIL@` in their text; `log` is its main log, in which `=>` is a delivery, `==` a deferral, `**`
    a failure. Failed and deferred mail is tried again with each `run_queue`.
    """

    def __init__(self, main="", acl="", routers="", transports="", retry="* * F,1h,1s", certificate=None):
        assert os.geteuid() == 0, "Exim delivers as other accounts: run this case as root"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="x-", dir=SCRATCH))
        self.port = free_port()
        self.spool, self.mail, logs = (self.directory / part for part in ("spool", "mail", "logs"))
        for part in (self.spool, self.mail, logs):
            part.mkdir()
            run("chown", f"{ACCOUNT}:{ACCOUNT}", part)
        for place in (self.directory, *self.directory.parents):
            if place == pathlib.Path("/") or place == SCRATCH.parent:
                break
            place.chmod(place.stat().st_mode | 0o711)
        self.log_path = logs / "mainlog"
        offered = "tls_advertise_hosts =\n"
        if certificate:
            chain, key = (self.directory / name for name in ("chain.pem", "key.pem"))
            for copy, original in zip((chain, key), certificate):
                copy.write_bytes(pathlib.Path(original).read_bytes())
                copy.chmod(0o600)
                run("chown", ACCOUNT, copy)
            offered = f"tls_advertise_hosts = *\ntls_certificate = {chain}\ntls_privatekey = {key}\n"
        self.configuration = self.directory / "exim.conf"
        self.configuration.write_text(f"""
exim_path = {PROGRAM}
primary_hostname = exim.example.net
spool_directory = {self.spool}
log_file_path = {logs}/%slog
pid_file_path = {self.directory}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
{offered}
host_lookup =
rfc1413_query_timeout = 0s
never_users =
keep_environment =
qualify_domain = exim.example.net
dsn_advertise_hosts = *
{"" if "smtputf8_advertise_hosts" in main else "smtputf8_advertise_hosts = *"}
chunking_advertise_hosts = *
prdr_enable = true
log_selector = +smtp_connection +smtp_protocol_error +tls_cipher +tls_certificate_verified +tls_peerdn +pipelining +received_recipients +deliver_time -host_lookup_failed
{main}
{"" if "acl_smtp_rcpt" in main else "acl_smtp_rcpt = accept"}
begin acl
{acl}
begin routers
{routers}
begin transports
{transports}
begin retry
{retry}
""".replace("@MAIL@", str(self.mail)))

    def command(self, *arguments, **options):
        return run(PROGRAM, "-C", self.configuration, *arguments, **options)

    def start(self):
        done = self.command("-bV")
        assert done.returncode == 0, done.out
        self.launch(PROGRAM, "-C", self.configuration, "-bdf", errors=self.directory / "errors", leads_session=True)
        wait_for(lambda: self.is_running() and f"listening for SMTP on [127.0.0.1]:{self.port}" in self.log(), 20, f"Exim's port: {self.log()}")
        return self

    def log(self):
        return "".join(path.read_text(errors="replace") for path in sorted(self.log_path.parent.glob("*log")))

    def wait_log(self, *words, count=1, timeout=20):
        """The first line with all these words (the first `count` of them, if more than one is asked for)."""
        found = lambda: [line for line in self.log().splitlines() if all(word in line for word in words)]
        wait_for(lambda: len(found()) >= count, timeout, f"{words} in Exim's log")
        return found()[0] if count == 1 else found()[:count]

    def run_queue(self):
        """All of it, whenever its next attempt would be; in two rounds, so that what goes to one host goes over one connection."""
        done = self.command("-qqff")
        assert done.returncode == 0, done.out

    def wait_queue_empty(self, timeout=30):
        wait_for(lambda: not any(path.name.endswith("-H") for path in (self.spool / "input").rglob("*")), timeout, f"Exim's empty queue\n{self.log()}")

    def letters(self, user):
        """The files of the Maildir `mail/USER`, in the order of their names."""
        return [path.read_bytes() for path in sorted((self.mail / user / "new").glob("*"))]
