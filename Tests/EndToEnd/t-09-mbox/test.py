"""Mailboxes in one file, read by other programs; locks; quota in both formats."""

import email
import email.policy
import mailbox
import os
import re

from kit import *

MBOX = {"mailboxes": {"format": "mbox"}}


@test("Python's mailbox module and s-nail read what was delivered")
def _():
    with Server(**MBOX) as server:
        sent = [message(f"letter {number}", f"body {number}\r\n") for number in range(5)]
        for data in sent:
            server.send(data, ["alice@example.org"])
            server.wait_queue_empty()
        letters = server.wait_mail("alice", 5)
        for letter, data in zip(letters, sent):
            letter.assert_holds(data)
            assert letter["Delivered-To"] == "alice@example.org" and letter["Return-Path"] == "<sender@example.net>", letter.fields
        path = server.mail / "alice"
        assert path.read_bytes().startswith(b"From sender@example.net "), path.read_bytes()[:80]
        assert path.stat().st_mode & 0o077 == 0, oct(path.stat().st_mode)
        done = run("s-nail", "-n", "-R", "-H", "-f", path, env=dict(os.environ, HOME=str(SCRATCH)))
        assert done.returncode == 0 and all(f"letter {number}" in done.out for number in range(5)), done.out


@test("lines that start with From are quoted, and no message falls apart")
def _():
    body = "From the beginning\r\n>From quoted once\r\nFromage\r\n from indented\r\n\r\nFrom after an empty line\r\n"
    with Server(**MBOX) as server:
        server.send(message("from", body), ["alice@example.org"])
        server.send(message("next"), ["alice@example.org"])
        server.wait_queue_empty()
        box = mailbox.mbox(server.mail / "alice", create=False)
        assert [entry["Subject"] for entry in box] == ["from", "next"]
        text = (server.mail / "alice").read_text()
        assert "\n>From the beginning\n" in text and "\n>From after an empty line\n" in text and "\nFromage\n" in text, text
        assert len(re.findall(r"^From ", text, re.M)) == 2, text


@test("the null sender stands as MAILER-DAEMON in the From line")
def _():
    with Server(**MBOX) as server:
        server.send(message("null"), ["alice@example.org"], sender="")
        server.wait_mail("alice", 1)
        assert (server.mail / "alice").read_bytes().startswith(b"From MAILER-DAEMON ")


@test("a dot lock of another program is honoured: the message waits, and comes when the lock is gone")
def _():
    with Server(**MBOX) as server:
        server.send(message("first"), ["alice@example.org"])
        server.wait_queue_empty()  # by then the delivery's own lock is gone
        lock = server.mail / "alice.lock"
        lock.write_text(str(os.getpid()))
        queue_id = server.send(message("second"), ["alice@example.org"])
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id, timeout=40)
        assert deferred["dsn"].startswith("4."), deferred
        server.send(message("other"), ["bob@example.org"])
        server.wait_mail("bob", 1)
        assert len(server.letters("alice")) == 1, "delivered over a lock"
        lock.unlink()
        server.wait_mail("alice", 2, timeout=30)
        server.wait_queue_empty()
        assert not lock.exists(), "a lock was left behind"


@test("many at once into one mbox: each message whole, none lost")
def _():
    with Server(**MBOX) as server:
        done = run("smtp-source", "-s", 10, "-m", 200, "-l", 2000, "-f", "sender@example.net", "-t", "alice@example.org", f"127.0.0.1:{server.port}")
        assert done.returncode == 0, done.out
        letters = server.wait_mail("alice", 200, timeout=40)
        assert len({letter.ident if letter.all("Message-ID") else letter["Message-Id"] for letter in letters}) == 200
        server.wait_queue_empty()


@test("killed while delivering into an mbox: every accepted message is there and the file is well formed", limit=120)
def _():
    server = Server(**MBOX)
    sent = []
    for round in range(4):
        for number in range(25):
            data = message(f"{round}.{number}", "x" * 3000 + "\r\n")
            server.send(data, ["alice@example.org"])
            sent.append(data)
        server.kill()
        server.start()
    server.wait_queue_empty()
    letters = server.letters("alice")
    subjects = [letter["Subject"] for letter in letters]
    assert set(subjects) == {f"{round}.{number}" for round in range(4) for number in range(25)}, "lost"
    for data in sent:
        assert any(letter.data.endswith(data.replace(b"\r\n", b"\n")) for letter in letters), f"not whole: {data[:200]!r}"
    # mbox has no names to overwrite: at each kill the batch under way may stand there twice.
    doubled = len(subjects) - len(set(subjects))
    assert doubled <= 4 * 25, doubled
    server.stop()


@test("a full mailbox of either format brings 552 5.2.2 to the sender, and the other recipient gets the message")
def _():
    for format in ("maildir", "mbox"):
        users = {"alice": {"quota": 20000}, "bob": {}, "carol": {}}
        with Server(mailboxes={"format": format}, users=users) as server:
            server.send(message("fits", "y" * 900 + "\r\n"), ["alice@example.org"])
            server.wait_mail("alice", 1)
            queue_id = server.send(message("too much", ("z" * 70 + "\r\n") * 400), ["alice@example.org", "bob@example.org"], sender="carol@example.org")
            server.wait_mail("bob", 1)
            [report] = server.wait_mail("carol", 1)
            status = email.message_from_bytes(report.data, policy=email.policy.default).get_payload()[1].get_payload()[1]
            assert status["Status"] == "5.2.2" and "alice@example.org" in status["Final-Recipient"], (format, status.items())
            bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
            assert bounced["dsn"] == "5.2.2" and bounced["reply"].startswith("552 5.2.2"), (format, bounced)
            assert len(server.letters("alice")) == 1, format
            server.wait_queue_empty()


@test("limits.mailbox_size holds for a user without a quota of her own")
def _():
    with Server(limits={"message_size": 40000, "mailbox_size": 40000}) as server:
        for number in range(2):
            server.send(message(f"number {number}", ("z" * 70 + "\r\n") * 400), ["alice@example.org"], sender="bob@example.org")
            server.wait_queue_empty()
        assert [letter["Subject"] for letter in server.letters("alice")] == ["number 0"]
        server.wait_mail("bob", 1)


@test("a user's own format overrides the site's")
def _():
    with Server(users={"alice": {}, "archive": {"mailbox": {"format": "mbox"}}}) as server:
        server.send(message("both"), ["alice@example.org", "archive@example.org"])
        server.wait_mail("alice", 1), server.wait_mail("archive", 1)
        assert (server.mail / "alice").is_dir() and (server.mail / "archive").is_file()
