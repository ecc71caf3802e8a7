"""The server under test: a manifest, a process, its log, its mailboxes."""

import json
import mailbox
import os
import pathlib
import resource
import signal
import smtplib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from .addresses import free_port, wait_for
from .letters import Letter

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ["VALIJA"]
SCRATCH = pathlib.Path(os.environ["CASE_SCRATCH"])


def run(*command, input=None, timeout=60, **options):
    """Runs a command to its end. `input` is octets or text; the result's `out` is what it wrote, both streams."""
    if isinstance(input, str):
        input = input.encode()
    options.setdefault("stdin", None if input is not None else subprocess.DEVNULL)
    if input is not None:
        options.pop("stdin")
    done = subprocess.run([str(word) for word in command], input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, **options)
    done.out = done.stdout.decode("utf-8", "surrogateescape")
    return done


def to_yaml(value, indent=0):
    """A manifest as text: block style for what nests, quoted scalars."""
    pad = "  " * indent
    lines = []
    for key, entry in value.items():
        name = json.dumps(key) if not key.replace("_", "").isalnum() else key
        if isinstance(entry, dict) and entry:
            lines += [f"{pad}{name}:", to_yaml(entry, indent + 1)]
        else:  # JSON's flow style is YAML
            lines.append(f"{pad}{name}: {json.dumps(entry, ensure_ascii=False)}")
    return "\n".join(lines)


class Server:
    """`with Server(key=value, …) as server`: the manifest's defaults below with these keys. Mappings are merged one
    level deep; a value of None leaves a key out."""

    started = []

    def __init__(self, start=True, manifest=None, wrapper=(), **keys):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="s-", dir=SCRATCH))
        self.mail = self.directory / "mail"
        self.spool = self.directory / "spool"
        self.mail.mkdir()
        self.spool.mkdir()
        self.port, self.health_port = free_port(), free_port()
        self.manifest_path = self.directory / "mail.yaml"
        self.manifest_path.write_text(manifest if manifest is not None else to_yaml(self.keys(keys)) + "\n")
        self.log_path = self.directory / "log"
        self.errors_path = self.directory / "errors"
        self.wrapper = list(wrapper)
        self.process = None
        self.starts_at = 0
        Server.started.append(self)
        if start:
            self.start()

    def keys(self, given):
        keys = {
            "apiVersion": "valija/v1",
            "hostname": "mx.example.org",
            "origin": "example.org",
            "domains": {"example.org": {}},
            "users": {"alice": {}, "bob": {}, "carol": {}},
            "aliases": {"postmaster": "alice"},
            "networks": ["127.0.0.0/8"],
            "limits": {"connections_per_client": 1000, "mailbox_size": 0},
            "mailboxes": {"format": "maildir", "directory": str(self.mail)},
            "listen": {"smtp": [f"127.0.0.1:{self.port}"], "health": [f"127.0.0.1:{self.health_port}"]},
            "queue": {"directory": str(self.spool), "minimum_free": 0, "retry": {"minimum": "1s", "maximum": "2s"}},
            "logging": {"level": "debug"},
        }
        for key, value in given.items():
            if isinstance(value, dict) and isinstance(keys.get(key), dict) and key not in ("domains", "users", "aliases"):
                keys[key] = {**keys[key], **value}
            elif value is None:
                keys.pop(key, None)
            else:
                keys[key] = value
        return keys

    # Its life

    @property
    def environment(self):
        return dict(os.environ, VALIJA_MANIFEST=str(self.manifest_path))

    def spawn(self, arguments=()):
        """Starts the process and does not wait."""
        self.starts_at = self.log_path.stat().st_size if self.log_path.exists() else 0

        def in_child():
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with open(self.log_path, "ab") as log, open(self.errors_path, "ab") as errors:
            self.process = subprocess.Popen([*self.wrapper, BINARY, "serve", *arguments, str(self.manifest_path)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=errors, cwd=self.directory, preexec_fn=in_child)
        return self

    def start(self, timeout=20):
        """Starts the process; returns when it is ready."""
        self.spawn()

        def is_ready():
            assert self.process.poll() is None, f"serve ended with {self.process.returncode}: {self.errors()}"
            return self.events("service.ready", since_start=True)

        wait_for(is_ready, timeout, "service.ready in the log")
        return self

    @property
    def pid(self):
        """The server's own process, also below a wrapper."""
        if not self.wrapper:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def kill(self):
        """As a power cut would, as far as a process can feel one."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=15):
        """SIGTERM; returns (exit code, seconds)."""
        started = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait(timeout)
        return code, time.monotonic() - started

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process and self.process.poll() is None and exception[0] is None:
            code, seconds = self.stop()
            assert code == 0, f"serve ended with {code} on SIGTERM: {self.errors()}"

    @classmethod
    def discard_all(cls):
        for server in cls.started:
            if server.process and server.process.poll() is None:
                try:
                    server.kill()
                except (ProcessLookupError, IndexError):
                    server.process.kill()
        cls.started = []

    # What it says

    def log(self, since_start=False):
        """The log's lines as objects. A last line that is still being written is left out."""
        if not self.log_path.exists():
            return []
        data = self.log_path.read_bytes()[self.starts_at if since_start else 0:]
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()
                if not line.startswith(b"\0")]

    def events(self, event, since_start=False, **fields):
        return [line for line in self.log(since_start)
                if line["event"] == event and all(line.get(name) == value for name, value in fields.items())]

    def wait_event(self, event, timeout=15, count=1, **fields):
        """The first event of this name with these fields (all `count` of them if more than one is asked for)."""
        found = wait_for(lambda: (lambda e: e if len(e) >= count else None)(self.events(event, **fields)), timeout,
                         f"{event} {fields}")
        return found[0] if count == 1 else found

    def errors(self):
        return self.errors_path.read_text(errors="replace") if self.errors_path.exists() else ""

    def log_tail(self, count=30):
        lines = self.log_path.read_text(errors="replace").splitlines()[-count:] if self.log_path.exists() else []
        return lines + [f"(stderr) {line}" for line in self.errors().splitlines()[-20:]]

    def memory(self, field="VmRSS"):
        """KiB."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])

    def http(self, path):
        """(status, text) of the health service."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    # Commands

    def valija(self, *arguments, **options):
        return run(BINARY, *arguments, env=self.environment, cwd=self.directory, **options)

    def called(self, name, *arguments, **options):
        """The binary by one of its other names, as the image's symbolic links call it."""
        link = self.directory / name
        if not link.is_symlink():
            link.symlink_to(BINARY)
        return run(link, *arguments, env=self.environment, cwd=self.directory, **options)

    def queue(self):
        """The queued messages, from `valija queue list --json`: a list, or an object a line."""
        done = self.valija("queue", "list", "--json")
        assert done.returncode == 0, done.out
        text = done.out.strip()
        if text.startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines()]

    def wait_queue_empty(self, timeout=30):
        wait_for(lambda: not self.queue(), timeout, "an empty queue", every=0.2)

    # Mail

    def smtp(self, **options):
        options.setdefault("timeout", 20)
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example.net", **options)

    def send(self, data, to, sender="sender@example.net", **options):
        """Sends by smtplib; returns the queue id of the reply."""
        with self.smtp() as client:
            client.ehlo()
            return self.send_over(client, data, to, sender, **options)

    @staticmethod
    def send_over(client, data, to, sender="sender@example.net", mail_options=(), rcpt_options=()):
        code, text = client.mail(sender, mail_options)
        assert code == 250, (code, text)
        for recipient in to:
            code, text = client.rcpt(recipient, rcpt_options)
            assert code == 250, (recipient, code, text)
        code, text = client.data(data)
        text = text.decode()
        assert code == 250 and text.startswith("2.0.0 Ok: queued as "), (code, text)
        return text.rsplit(" ", 1)[1]

    def letters(self, user):
        """What lies in the user's mailbox, oldest name first: Maildir if it is a directory, else mbox."""
        path = self.mail / user
        if path.is_dir():
            files = [file for part in ("new", "cur") for file in (path / part).glob("*") if file.is_file()]
            return [Letter(file.read_bytes(), file) for file in sorted(files, key=lambda file: file.name)]
        if path.is_file():
            return [Letter(bytes(entry)) for entry in mailbox.mbox(path, create=False)]
        return []

    def wait_mail(self, user, count, timeout=15):
        """Waits for `count` letters; more than that is an error as well."""
        letters = wait_for(lambda: (lambda l: l if len(l) >= count else None)(self.letters(user)), timeout,
                           f"{count} letters for {user}")
        assert len(letters) == count, f"{len(letters)} letters for {user}, not {count}"
        return letters
