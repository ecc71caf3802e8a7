"""Killed at any moment: what was answered with 250 is delivered, and delivered once."""

import collections
import random
import smtplib
import subprocess
import threading
import time
import uuid

from kit import *

SEED = random.randrange(1 << 30)


class Sender(threading.Thread):
    """Sends one message after another, each with a Message-ID of its own, through whatever happens to the server;
    remembers those that were answered with 250."""

    def __init__(self, server, until, recipients):
        super().__init__(daemon=True)
        self.server, self.until, self.recipients = server, until, recipients
        self.accepted = []
        self.start()

    def run(self):
        size = random.Random(SEED + id(self))
        while not self.until.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.server.port, local_hostname="client.example.net", timeout=10) as client:
                    client.ehlo()
                    while not self.until.is_set():
                        ident = f"<{uuid.uuid4()}@client.example.net>"
                        # Some too large for a row of the spool.
                        body = b"0123456789abcdef" * 4 + b"\r\n"
                        data = message("durable", body * (2000 if size.random() < 0.05 else 20), ident=ident)
                        self.server.send_over(client, data, self.recipients)
                        self.accepted.append(ident)
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.02)


def letters_by_ident(server, user):
    return collections.Counter(letter.ident for letter in server.letters(user))


@test("killed again and again while many send: nothing that was accepted is lost, nothing is doubled", limit=240)
def _():
    server = Server()
    until = threading.Event()
    senders = [Sender(server, until, ["alice@example.org", "bob@example.org"]) for _ in range(8)]
    source = None
    moments = random.Random(SEED)
    print(f"     seed {SEED}", flush=True)
    for _ in range(8):
        if source is None or source.poll() is not None:
            source = subprocess.Popen(["smtp-source", "-s", "4", "-m", "100000", "-l", "2048", "-f", "source@example.net", "-t", "carol@example.org",
                                       f"127.0.0.1:{server.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.05, 1.2))
        server.kill()
        server.start()
    time.sleep(0.5)
    until.set()
    source.kill()
    for sender in senders:
        sender.join(15)
    server.kill()
    server.start()
    server.wait_queue_empty(timeout=90)

    accepted = [ident for sender in senders for ident in sender.accepted]
    assert len(accepted) > 100, f"only {len(accepted)} accepted: not a test"
    for user in ("alice", "bob"):
        found = letters_by_ident(server, user)
        lost = [ident for ident in accepted if not found[ident]]
        doubled = {ident: count for ident, count in found.items() if count > 1}
        assert not lost, f"{len(lost)} of {len(accepted)} accepted messages are not in {user}'s mailbox: {lost[:5]}"
        assert not doubled, f"{len(doubled)} messages lie more than once in {user}'s mailbox: {list(doubled.items())[:5]}"
    doubled = [ident for ident, count in letters_by_ident(server, "carol").items() if count > 1]
    assert not doubled, f"smtp-source's messages are doubled: {doubled[:5]}"
    assert server.letters("carol"), "smtp-source got nothing in"
    print(f"     {len(accepted)} accepted by smtplib, {len(server.letters('carol'))} of smtp-source's delivered", flush=True)
    code, _ = server.stop()
    assert code == 0, code


@test("killed right after the 250, a message is there after the restart", limit=120)
def _():
    server = Server()
    sent = []
    for number in range(10):
        data = message(f"last words {number}")
        server.send(data, ["alice@example.org"])
        server.kill()
        sent.append(data)
        server.start()
    for letter, data in zip(sorted(server.wait_mail("alice", 10), key=lambda letter: letter["Subject"]), sent):
        letter.assert_holds(data)
    server.stop()


@test("stopped politely while many send: the same, and within ten seconds", limit=120)
def _():
    server = Server()
    until = threading.Event()
    senders = [Sender(server, until, ["alice@example.org"]) for _ in range(8)]
    for _ in range(3):
        time.sleep(0.7)
        code, seconds = server.stop()
        assert code == 0 and seconds < 10, (code, seconds)
        assert server.events("service.stopped", since_start=True)
        server.start()
    until.set()
    for sender in senders:
        sender.join(15)
    server.wait_queue_empty()
    accepted = [ident for sender in senders for ident in sender.accepted]
    found = letters_by_ident(server, "alice")
    assert len(accepted) > 50 and all(found[ident] == 1 for ident in accepted), (len(accepted), [ident for ident in accepted if found[ident] != 1][:5])
    server.stop()


@test("an unfinished message leaves nothing behind")
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.envelope().expect("DATA", "354")
            client.write(message("half")[:-20])
        with Dialogue(server.port) as client:
            client.envelope().expect("DATA", "354")
            client.write(message("half a large one") + b"x" * 70 + (b"\r\n" + b"y" * 70) * 5000)
        server.wait_event("session.closed", count=2)
        assert server.queue() == [] and not server.letters("alice")
        wait_for(lambda: not [file for file in server.spool.rglob("*") if file.is_file() and not file.name.startswith("spool.db") and file.stat().st_size > 1000],
                 what="no half bodies in the spool")
