"""Forwarded mail with SRS: the sender that goes out is postsrsd's to the letter, and a bounce finds the way back."""

import base64
import hashlib
import hmac
import os
import socket
import subprocess
import time

from kit import *

SECRET = "a secret of the forwarder's"
DAYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def digest(secret, *parts):
    """libsrs2: HMAC-SHA1 over the parts in lower case, of whose base 64 the first four characters count."""
    data = "".join(parts).lower().encode()
    return base64.b64encode(hmac.new(secret.encode(), data, hashlib.sha1).digest()).decode()[:4]


def day(offset=0):
    number = int(time.time() // 86400) + offset
    return DAYS[number >> 5 & 31] + DAYS[number & 31]


def srs0(sender, domain, secret=SECRET, offset=0):
    local, host = sender.split("@")
    return f"SRS0={digest(secret, day(offset), host, local)}={day(offset)}={host}={local}@{domain}"


def srs1(sender, domain, secret=SECRET):
    local, host = sender.split("@")
    tag, rest = local[:4], local[4:]
    if tag == "SRS1":
        _, host, rest = rest[1:].split("=", 2)
    return f"SRS1={digest(secret, host, rest)}={host}={rest}@{domain}"


def server(port, **keys):
    path = SCRATCH / f"secret-{port}"
    path.write_text(SECRET + "\n")
    return Server(relayhost=f"[127.0.0.1]:{port}", users={"alice": {}, "bob": {"forward": "bob@mobile.example", "keep_copy": True}},
                  aliases={"postmaster": "alice", "away": "away@mobile.example", "both": ["alice", "away@mobile.example"]},
                  domains={"example.org": {}, "v.example": {"kind": "virtual", "addresses": {"x": "x@mobile.example", "postmaster": "postmaster"}},
                           "branch.example": {"kind": "relay", "via": f"[127.0.0.1]:{port}"}},
                  rewriting={"srs": {"domain": "srs.example.org", "secret": {"file": str(path)}}}, **keys)


@test("postsrsd with the same secret makes the same addresses, and reads those that are made here")
def _():
    secret = SCRATCH / "postsrsd-secret"
    secret.write_text(SECRET + "\n")
    there, back = free_port(), free_port()
    daemon = subprocess.Popen(["/usr/sbin/postsrsd", "-d", "srs.example.org", "-s", str(secret), "-f", str(there), "-r", str(back), "-l", "127.0.0.1"],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(port, address):
        def answer():
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    connection.sendall(f"get {address}\n".encode())
                    return connection.recv(1000).decode().strip()
            except ConnectionRefusedError:
                return None
        return wait_for(answer, what="postsrsd")

    try:
        with Sink() as sink, server(sink.port) as forwarder:
            first = srs0("user@origin.example", "first.example", "another secret")
            for sender in ("Someone@Sender.Example", first, srs1(first, "second.example", "a third one")):
                count = len(sink.messages)
                forwarder.send(message("m"), ["away@example.org"], sender=sender)
                wait_for(lambda: len(sink.messages) > count, what="the forwarded message")
                made = sink.messages[-1][0]
                assert ask(there, sender) == f"200 {made}", (ask(there, sender), made)
            made = sink.messages[0][0]
            assert ask(back, made) == "200 Someone@Sender.Example", ask(back, made)
    finally:
        daemon.kill()
        daemon.wait()


@test("mail that is forwarded to the outside goes out with a rewritten sender; the mailbox keeps the real one")
def _():
    with Sink() as sink, server(sink.port) as forwarder:
        forwarder.send(message("forwarded"), ["bob@example.org"], sender="Someone@Sender.Example")
        [letter] = forwarder.wait_mail("bob", 1)
        assert letter["Return-Path"] == "<Someone@Sender.Example>", letter["Return-Path"]
        [(sender, recipients, data)] = wait_for(lambda: sink.messages, what="the forwarded message")
        assert sender == srs0("Someone@Sender.Example", "srs.example.org") and recipients == ["bob@mobile.example"], sender
        assert b"From: " in data and b"SRS0" not in data, "the header is the author's"


@test("who is forwarded, and who is only passed on, is told apart")
def _():
    with Sink() as sink, server(sink.port) as forwarder:
        def sender_of(recipient, sender):
            count = len(sink.messages)
            forwarder.send(message("m"), recipient if isinstance(recipient, list) else [recipient], sender=sender)
            wait_for(lambda: len(sink.messages) > count, what="the message at the sink")
            forwarder.wait_queue_empty()
            return sorted(entry[0] for entry in sink.messages[count:])
        own = "alice@example.org"
        assert sender_of("away@example.org", own) == [own], "a sender of ours needs none"
        assert sender_of("out@other.example", "x@sender.example") == ["x@sender.example"], "relayed for a client"
        assert sender_of("office@branch.example", "x@sender.example") == ["x@sender.example"], "a domain of ours"
        assert sender_of("x@v.example", "x@sender.example") == [srs0("x@sender.example", "srs.example.org")]
        assert sender_of("away@example.org", "") == [""], "a report has no sender to rewrite"
        assert sender_of(["away@example.org", "out@other.example"], "x@sender.example") == sorted(["x@sender.example", srs0("x@sender.example", "srs.example.org")])


@test("a second forwarder wraps the first one's sender, and does not wrap it twice")
def _():
    with Sink() as sink, server(sink.port) as forwarder:
        first = srs0("user@origin.example", "first.example", "another secret")
        forwarder.send(message("twice"), ["away@example.org"], sender=first)
        wait_for(lambda: sink.messages, what="the message")
        assert sink.messages[0][0] == srs1(first, "srs.example.org"), sink.messages[0][0]
        second = srs1(first, "second.example", "a third one")
        forwarder.send(message("thrice"), ["away@example.org"], sender=second)
        wait_for(lambda: len(sink.messages) == 2, what="the message")
        assert sink.messages[1][0] == srs1(second, "srs.example.org"), sink.messages[1][0]
        # And back: to the first forwarder, whose address it was.
        forwarder.send(message("back"), [sink.messages[1][0]], sender="")
        wait_for(lambda: len(sink.messages) == 3, what="the bounce")
        assert sink.messages[2][1] == [first], sink.messages[2]


@test("a bounce to a rewritten sender goes back to the real one, from strangers too; what was not signed here is refused")
def _():
    with Sink() as sink, server(sink.port, networks=["192.0.2.1/32"]) as forwarder:
        good = srs0("user@origin.example", "srs.example.org")
        forwarder.send(message("bounce"), [good], sender="")
        wait_for(lambda: sink.messages, what="the bounce")
        assert sink.messages[0][:2] == ("", ["user@origin.example"]), sink.messages[0]
        forwarder.send(message("lower"), [good.lower()], sender="")
        wait_for(lambda: len(sink.messages) == 2, what="the bounce to the folded address")
        with Dialogue(forwarder.port) as client:
            client.expect("EHLO x.example", "250")
            client.expect("MAIL FROM:<>", "250")
            for address in [srs0("user@origin.example", "srs.example.org", "guessed"), srs0("user@origin.example", "srs.example.org", offset=-30),
                            "SRS0=abcd@srs.example.org", "SRS1=abcd=x.example=y@srs.example.org"]:
                client.expect(f"RCPT TO:<{address}>", "550 5.1.1")
            client.expect("RCPT TO:<user@origin.example>", "554 5.7.1")


@test("an undeliverable forwarded message is reported to the real sender, and by a bounce from outside as well")
def _():
    refuse = lambda command, address: "550 5.1.1 gone" if (command, address) == ("RCPT", "away@mobile.example") else None
    with Sink(refuse) as sink, server(sink.port) as forwarder:
        forwarder.send(message("fails"), ["away@example.org"], sender="user@origin.example")
        wait_for(lambda: sink.messages, what="the report")
        assert sink.messages[0][:2] == ("", ["user@origin.example"]), sink.messages[0]
        assert b"away@example.org" in sink.messages[0][2] and b"SRS0" not in sink.messages[0][2].split(b"message/rfc822")[0]


@test("without its secret the server does not start, and says which file it misses; another secret may take over while the old one still counts")
def _():
    keys = {"rewriting": {"srs": {"domain": "srs.example.org", "secret": {"file": "/nowhere/srs"}}}}
    broken = Server(start=False, **keys)
    done = run(BINARY, "serve", broken.manifest_path, cwd=broken.directory)
    assert done.returncode != 0 and "rewriting.srs.secret" in done.out and "/nowhere/srs" in done.out, done.out
    new = SCRATCH / "new-secret"
    new.write_text("new\n")
    with Sink() as sink:
        old = SCRATCH / "old-secret"
        old.write_text(SECRET)
        with Server(relayhost=f"[127.0.0.1]:{sink.port}", aliases={"away": "a@b.example", "postmaster": "alice"},
                    rewriting={"srs": {"domain": "srs.example.org", "secret": [{"file": str(new)}, {"file": str(old)}]}}) as forwarder:
            forwarder.send(message("m"), ["away@example.org"], sender="x@y.example")
            wait_for(lambda: sink.messages, what="the message")
            assert sink.messages[0][0] == srs0("x@y.example", "srs.example.org", "new")
            forwarder.send(message("m"), [srs0("x@y.example", "srs.example.org")], sender="")
            wait_for(lambda: len(sink.messages) == 2, what="the bounce")
