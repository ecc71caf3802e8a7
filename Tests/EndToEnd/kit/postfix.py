"""Debian's Postfix on a rendered directory: an instance of its own beside whatever else runs, with the least that takes."""

import os
import pathlib
import shutil
import socket

from .addresses import wait_for
from .daemon import Daemon
from .server import SCRATCH, run


class Postfix(Daemon):
    """`valija render` wrote `configuration`; queue, data and log go below `directory`.

    Postfix's master starts as root only, and its daemons as the accounts of the package: `directory` and what is above it
    must be open to them. `private` is all that is added to main.cf, and nothing in master.cf.
    """

    def __init__(self, configuration, directory, port):
        assert os.geteuid() == 0, "Postfix starts as root only: run this case as root"
        self.configuration, self.directory, self.port = pathlib.Path(configuration), pathlib.Path(directory), port
        self.directory.mkdir(parents=True, exist_ok=True)
        for part in ("queue", "data"):
            (self.directory / part).mkdir()
        shutil.chown(self.directory / "data", "postfix")
        for place in (self.directory, *self.directory.parents):
            if place == pathlib.Path("/") or place == SCRATCH.parent:
                break
            place.chmod(place.stat().st_mode | 0o711)
        self.log_path = self.directory / "log"
        self.private = {
            # Where it lives, apart from the host's own instance and from others of this case.
            "queue_directory": str(self.directory / "queue"),
            "data_directory": str(self.directory / "data"),
            "maillog_file": str(self.log_path),
            "maillog_file_prefixes": str(self.directory),
            # A look-up of 127.0.0.x in the DNS may take its full time where a test machine has no network.
            "smtpd_peername_lookup": "no",
        }
        self._add(self.private)

    def _add(self, parameters):
        """Adds to main.cf, and sees that this changed these parameters and no other."""
        before = self.settings()
        with open(self.configuration / "main.cf", "a") as file:
            file.write("\n# Added by the test: an instance of its own.\n")
            file.writelines(f"{name} = {value}\n" for name, value in parameters.items())
        after = self.settings()
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert changed == set(parameters), f"main.cf: {changed} changed, not {set(parameters)}"
        assert all(after[name] == value for name, value in parameters.items()), after

    def settings(self):
        """What main.cf sets: `postconf -n`."""
        done = run("postconf", "-c", self.configuration, "-n")
        assert done.returncode == 0 and "warning" not in done.out, done.out
        return {name: value.strip() for name, _, value in (line.partition(" =") for line in done.out.splitlines())}

    def setting(self, name):
        return run("postconf", "-c", self.configuration, "-h", name).out.strip()

    def start(self):
        """Returns when it listens."""
        done = run("postfix", "-c", self.configuration, "check")
        assert done.returncode == 0, f"postfix check: {done.returncode}\n{done.out}\n{self.log()}"
        # The master itself and not `postfix start-fg`, whose shell would be all that a signal reaches.
        master = pathlib.Path(self.setting("daemon_directory")) / "master"
        self.launch(master, "-c", self.configuration, "-d", errors=self.directory / "errors", leads_session=True)
        wait_for(self.is_listening, 20, "Postfix's port", every=0.05)
        return self

    def is_listening(self):
        self.is_running()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def is_queue_empty(self):
        """In the direction in which mail moves, so that none is missed that moves on meanwhile; then once more for what
        was put back."""
        queues = ("maildrop", "incoming", "active", "deferred", "incoming", "active", "deferred")
        return not any(any(files) for name in queues for _, _, files in os.walk(self.directory / "queue" / name))

    def wait_queue_empty(self, timeout=30):
        wait_for(lambda: self.is_queue_empty() and self.is_queue_empty(), timeout, f"an empty queue\n{self.log()[-3000:]}", every=0.05)

