"""Aliases that lead to files, commands and lists in files, users' forward files, and what reports say of them."""

import email
import email.policy
import os
import pathlib
import shutil
import time

from kit import *

NOBODY = 65534


def place():
    """A directory in which the server, which is not root, and its commands may write."""
    here = pathlib.Path(SCRATCH) / f"place-{time.monotonic_ns()}"
    here.mkdir()
    here.chmod(0o777)
    for above in (here, *here.parents):
        if above == SCRATCH.parent:
            break
        above.chmod(above.stat().st_mode | 0o711)
    return here


def server(**keys):
    """Not as root: commands are not run then."""
    made = Server(start=False, wrapper=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if os.geteuid() == 0 else (), **keys)
    if os.geteuid() == 0:
        for part in (made.directory, made.mail, made.spool):
            os.chown(part, NOBODY, NOBODY)
        for above in (made.directory, *made.directory.parents):
            if above == SCRATCH.parent:
                break
            above.chmod(above.stat().st_mode | 0o711)
    if os.geteuid() != 0:
        made.wrapper = []
    return made


class Running:
    def __init__(self, **keys):
        self.server = server(**keys)

    def __enter__(self):
        self.server.spawn()
        wait_for(lambda: self.server.events("service.ready", since_start=True), 20, f"service.ready {self.server.errors()}")
        return self.server

    def __exit__(self, *exception):
        # setpriv becomes the server itself.
        if self.server.process.poll() is None:
            self.server.process.terminate()
            assert self.server.process.wait(15) == 0 or exception[0], self.server.errors()


COMMANDS = {"allow_mail_to_commands": ["alias"]}


def reports(letter):
    """[fields per recipient] of an RFC 3464 report, and what it says to people."""
    parsed = email.message_from_bytes(letter.data, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report", parsed
    text, status, _ = parsed.get_payload()
    return status.get_payload()[1:], " ".join(text.get_content().split())


@test("an alias to a file appends to an mbox; one with a slash is a Maildir; /dev/null takes everything")
def _():
    here = place()
    with Running(aliases={"postmaster": "alice", "log": f"{here}/log", "dir": f"{here}/dir/", "nowhere": "/dev/null", "both": [f"{here}/log", "bob"]}) as running:
        running.send(message("to a file", "From here\r\n"), ["log@example.org"])
        running.send(message("to both"), ["both@example.org"])
        running.send(message("to a Maildir"), ["dir@example.org"])
        running.send(message("to nothing"), ["nowhere@example.org"])
        running.wait_mail("bob", 1)
        running.wait_queue_empty()
        text = (here / "log").read_bytes()
        assert text.startswith(b"From sender@example.net  ") and b"\nDelivered-To: log@example.org\n" in text and b"\n>From here\n" in text, text
        assert text.count(b"\nFrom sender@example.net  ") == 1 and b"Subject: to both" in text
        [letter] = (here / "dir" / "new").iterdir()
        assert b"Subject: to a Maildir" in letter.read_bytes()
        sent = running.events("delivery.sent", to="log@example.org")
        assert sent[0]["relay"] == "file" and sent[0]["reply"] == "250 2.0.0 delivered to file", sent
        # Coming back, it is a loop.
        running.send(b"Delivered-To: log@example.org\r\n" + message("loop"), ["log@example.org"], sender="alice@example.org")
        [letter] = running.wait_mail("alice", 1)
        assert reports(letter)[0][0]["Status"] == "5.4.6"


@test("a command gets the message and what is known of it; no shell reads what the network sent")
def _():
    here = place()
    script = here / "take"
    script.write_text(f"#!/bin/sh\nenv > {here}/env\ncat > {here}/mail\nid -u > {here}/id\nls /proc/self/fd > {here}/fds\n")
    script.chmod(0o755)
    with Running(address_extension="+", aliases={"postmaster": "alice", "take": f"|{script}", "shell": f"|cat > {here}/shell; exit 0"}, local_delivery=COMMANDS) as running:
        running.send(message("for a program", "From one\r\n.\r\n"), ["take+ext@example.org"], sender="some$one@sender.example")
        running.wait_event("delivery.sent", to="take+ext@example.org")
        mail = (here / "mail").read_text()
        assert mail.startswith("From some$one@sender.example  ") and "\nX-Original-To: take+ext@example.org\n" in mail and "\nDelivered-To: take+ext@example.org\n" in mail, mail
        assert "\r" not in mail and mail.endswith("\nFrom one\n.\n"), mail
        env = dict(line.split("=", 1) for line in (here / "env").read_text().splitlines())
        want = {"SENDER": "some$one@sender.example", "RECIPIENT": "take+ext@example.org", "ORIGINAL_RECIPIENT": "take+ext@example.org", "LOCAL": "take+ext",
                "EXTENSION": "ext", "DOMAIN": "example.org"}
        assert want.items() <= env.items() and "VALIJA_MANIFEST" not in env, env
        assert (here / "id").read_text().strip() != "0"
        assert len((here / "fds").read_text().split()) <= 4, (here / "fds").read_text()
        large = message("large", "0123456789abcdef\r\n" * 20_000)
        running.send(large, ["shell@example.org"])
        running.wait_event("delivery.sent", to="shell@example.org")
        assert (here / "shell").read_bytes().endswith(large.replace(b"\r\n", b"\n")[-100_000:])


@test("the exit status of a command is the outcome, and what it says stands in the report, in bounds")
def _():
    cases = {"usage": (64, "5.3.0", "command line usage error"), "data": (65, "5.6.0", "data format error"), "nouser": (67, "5.1.1", "user unknown"),
             "perm": (77, "5.7.0", "permission denied"), "config": (78, "5.3.5", "local configuration error"), "odd": (3, "5.3.0", "Command died with status 3")}
    aliases = {name: f"|echo why it failed; exit {code}" for name, (code, _, _) in cases.items()}
    aliases |= {"own": "|echo '5.2.1 mailbox closed today'; exit 1", "signal": "|kill -9 $$", "chatty": "|head -c 1000000 /dev/zero | tr '\\\\0' x; exit 67", "postmaster": "alice"}
    with Running(aliases=aliases, local_delivery={**COMMANDS, "command_concurrency": 4}) as running:
        for name in aliases:
            if name != "postmaster":
                running.send(message(name), [f"{name}@example.org"], sender="bob@example.org")
        letters = running.wait_mail("bob", len(aliases) - 1, timeout=30)
        found = {}
        for letter in letters:
            [fields], text = reports(letter)
            found[fields["Final-Recipient"].split(";")[1].strip().split("@")[0]] = (fields["Status"], fields["Diagnostic-Code"], text)
            assert fields["Action"] == "failed" and len(letter.data) < 20_000, fields
        for name, (_, status, words) in cases.items():
            assert found[name][0] == status and words in found[name][2] and "why it failed" in found[name][2], found[name]
        assert found["own"][0] == "5.2.1" and found["own"][1] == "x-valija; 554 5.2.1 mailbox closed today", found["own"]
        assert found["signal"][0] == "5.3.0" and "signal 9" in found["signal"][2]
        assert found["chatty"][0] == "5.1.1"


@test("a temporary failure waits and is tried again; a command without an end is killed with all that it started")
def _():
    here = place()
    with Running(aliases={"postmaster": "alice", "later": f"|test -e {here}/ready || {{ echo busy; exit 75; }}; cat > {here}/done",
                          "ever": f"|echo started > {here}/started; sleep 1000 & sleep 1000", "gone": "|/no/such/program"},
                 local_delivery={**COMMANDS, "command_time_limit": "2s"}) as running:
        queue_id = running.send(message("later"), ["later@example.org"])
        deferred = running.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["dsn"] == "4.3.0" and "temporary failure. Command output: busy" in deferred["reply"], deferred
        (here / "ready").touch()
        running.wait_event("delivery.sent", queue_id=queue_id)
        running.send(message("ever"), ["ever@example.org"], sender="bob@example.org")
        wait_for(lambda: (here / "started").exists(), what="the endless command")
        [letter] = running.wait_mail("bob", 1)
        [fields], text = reports(letter)
        assert fields["Status"] == "5.3.0" and "time limit exceeded" in text, text
        gone = running.send(message("gone"), ["gone@example.org"])
        # As by a shell, which is where a command goes that is not found.
        assert running.wait_event("delivery.bounced", queue_id=gone)["dsn"] == "5.3.0"


@test("a list in a file goes to its members as a message of its own, with the owner as sender; a change counts at once")
def _():
    here = place()
    members = here / "members"
    members.write_text("# the team\nbob, Carol Example <carol@example.org>\nx@outside.example\n")
    with Sink(lambda command, address: "550 5.1.1 gone" if (command, address) == ("RCPT", "x@outside.example") else None) as sink, \
            Running(relayhost=f"[127.0.0.1]:{sink.port}", users={"alice": {}, "bob": {}, "carol": {}, "dave": {}},
                    aliases={"postmaster": "alice", "team": f":include:{members}", "owner-team": "alice"}) as running:
        queue_id = running.send(message("to the team"), ["team@example.org"])
        for user in ("bob", "carol"):
            [letter] = running.wait_mail(user, 1)
            assert letter["Return-Path"] == "<owner-team@example.org>", letter.fields
            assert "team@example.org" in letter.all("Delivered-To"), letter.fields
        sent = running.wait_event("delivery.sent", queue_id=queue_id)
        assert sent["reply"].startswith("250 2.0.0 forwarded as "), sent
        # The outside member refuses: the owner hears of it, not the author.
        [letter] = running.wait_mail("alice", 1)
        [fields], text = reports(letter)
        assert fields["Status"] == "5.1.1" and "x@outside.example" in fields["Final-Recipient"], fields
        members.write_text("dave\nnobody-here\n")
        running.send(message("changed"), ["team@example.org"])
        running.wait_mail("dave", 1)
        letters = running.wait_mail("alice", 2)
        assert any("nobody-here" in reports(letter)[1] for letter in letters)
        running.wait_queue_empty()
        members.unlink()
        queue_id = running.send(message("missing"), ["team@example.org"])
        assert running.wait_event("delivery.deferred", queue_id=queue_id)["dsn"] == "4.3.5"
        members.write_text("dave\n")
        running.wait_queue_empty()
        assert len(running.letters("dave")) == 2
        # It comes back to the list: a loop.
        running.send(b"Delivered-To: team@example.org\r\n" + message("loop"), ["team@example.org"], sender="bob@example.org")
        letters = running.wait_mail("bob", 2)
        assert any("5.4.6" in letter.data.decode() for letter in letters)


@test("an alias with an owner is a list without a file; nested lists each have their own; large messages go whole")
def _():
    here = place()
    (here / "inner").write_text(f"bob\n\"|cat > {here}/no\"\n/{here}/no\n")
    with Running(users={"alice": {}, "bob": {}, "carol": {}, "owner-inner": {}},
                 aliases={"postmaster": "alice", "outer": ["inner", "carol"], "owner-outer": "alice", "inner": f":include:{here}/inner"}) as running:
        large = message("large", "0123456789abcdef\r\n" * 20_000)
        running.send(large, ["outer@example.org"])
        [carol] = running.wait_mail("carol", 1)
        [bob] = running.wait_mail("bob", 1)
        assert carol["Return-Path"] == "<owner-outer@example.org>" and bob["Return-Path"] == "<owner-inner@example.org>", bob.fields
        assert bob.data.endswith(large.replace(b"\r\n", b"\n")) and sorted(bob.all("Delivered-To"))[1:] == ["inner@example.org", "outer@example.org"], bob.all("Delivered-To")
        # Neither a command nor a file is the list keeper's to name, unless it is said.
        [letter] = running.wait_mail("owner-inner", 1)
        assert [fields["Status"] for fields in reports(letter)[0]] == ["5.7.1", "5.7.1"], letter.data
        assert not (here / "no").exists()
        running.wait_queue_empty()
        assert not list((running.spool / "large").iterdir())


@test("users' forward files count where a path for them is given, and only then")
def _():
    here = place()
    for user in ("bob", "carol", "alice"):
        (here / user).mkdir()
    (here / "bob/.forward").write_text("\\bob, bob@mobile.example\n")
    (here / "carol/.forward").write_text(f"carol@away.example\n\"|touch {here}/hacked\"\n:include:/etc/passwd\n")
    (here / "alice/.forward+work").write_text("alice@work.example\n")
    keys = {"local_delivery": {"forward_path": [f"{here}/$user/.forward+$extension", f"{here}/$user/.forward"]}}
    with Sink() as sink, Running(relayhost=f"[127.0.0.1]:{sink.port}", address_extension="+", **keys) as running:
        running.send(message("copy kept"), ["bob@example.org"])
        running.wait_mail("bob", 1)
        wait_for(lambda: sink.messages, what="the forwarded message")
        assert sink.messages[0][:2] == ("sender@example.net", ["bob@mobile.example"]) and b"Delivered-To: bob@example.org" in sink.messages[0][2]
        running.send(message("work"), ["alice+work@example.org"])
        wait_for(lambda: len(sink.messages) == 2, what="the message for work")
        running.send(message("plain"), ["alice@example.org"])
        running.wait_mail("alice", 1)
        running.send(message("away"), ["carol@example.org"], sender="bob@example.org")
        wait_for(lambda: len(sink.messages) >= 4, what="the forwarded message")
        running.wait_queue_empty()
        assert sorted(entry[1][0] for entry in sink.messages) == ["alice@work.example", "bob@mobile.example", "bob@mobile.example", "carol@away.example"], sink.messages
        report = [letter for letter in running.letters("bob") if letter["Return-Path"] == "<>"][0]
        assert sorted(fields["Status"] for fields in reports(report)[0]) == ["5.7.1", "5.7.1"]
        assert not (here / "hacked").exists()
    with Running() as running:
        running.send(message("no files"), ["carol@example.org"])
        running.wait_mail("carol", 1)


@test("mail to commands that nothing allows is an error of check, and as root none is run")
def _():
    broken = Server(start=False, aliases={"postmaster": "alice", "c": "|cat"})
    done = run(BINARY, "check", broken.manifest_path)
    assert done.returncode == 1 and "mail may not be given to commands" in done.out and "allow_mail_to_commands: [alias]" in done.out, done.out
    if os.geteuid() == 0:
        with Server(aliases={"postmaster": "alice", "c": "|cat"}, local_delivery=COMMANDS) as as_root:
            queue_id = as_root.send(message("root"), ["c@example.org"])
            deferred = as_root.wait_event("delivery.deferred", queue_id=queue_id)
            assert deferred["dsn"] == "4.3.5" and "not run as root" in deferred["reply"], deferred


@test("what a list was sent on as survives a kill: no member misses it, none gets it twice")
def _():
    here = place()
    (here / "list").write_text("".join(f"user{number}\n" for number in range(50)))
    users = {"alice": {}} | {f"user{number}": {} for number in range(50)}
    made = server(users=users, aliases={"postmaster": "alice", "all": f":include:{here}/list"})
    for attempt in range(3):
        made.spawn()
        wait_for(lambda: made.events("service.ready", since_start=True), 20, "service.ready")
        made.send(message(f"round {attempt}"), ["all@example.org"])
        made.process.kill()
        made.process.wait()
    made.spawn()
    wait_for(lambda: made.events("service.ready", since_start=True), 20, "service.ready")
    for number in range(50):
        wait_for(lambda: len(made.letters(f"user{number}")) >= 3, what=f"three letters for user{number}")
    made.wait_queue_empty()
    assert all(len(made.letters(f"user{number}")) == 3 for number in range(50))
    made.process.terminate()
    made.process.wait(15)
