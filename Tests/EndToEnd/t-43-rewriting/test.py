"""Rewriting as clients and next hops see it: envelopes, headers, missing fields, copies; large messages too."""

import email
import email.utils
import email.policy

from kit import *


def addresses(data, *names):
    """[(name, address)] of the header's fields."""
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    return email.utils.getaddresses([str(value) for name in names for value in parsed.get_all(name, [])])


HEADER = (b"From: \"Jones, A\" <ajones@old.example>\r\nTo: bob@old.example,\r\n\tTeam: carol (the one) <carol@old.example>, x@other.example;\r\n"
          b"Cc: <dave@old.example>\r\nSubject: ajones@old.example\r\nMessage-ID: <1@old.example>\r\nDate: Mon, 24 Nov 2025 10:00:00 +0000\r\n")
CANONICAL = {"ajones@old.example": "alice.jones@example.org", "@old.example": "@example.org"}


@test("canonical rewrites envelope and header of mail that is made here, and keeps folding, names and comments")
def _():
    with Server(users={"alice": {}, "bob": {}}, domains={"example.org": {}, "old.example": {}},
                rewriting={"canonical": CANONICAL, "local_header_clients": ["networks"]}) as server:
        server.send(HEADER + b"\r\nbody ajones@old.example\r\n", ["bob@old.example"], sender="ajones@old.example")
        [letter] = server.wait_mail("bob", 1)
        assert letter["Return-Path"] == "<alice.jones@example.org>" and letter["X-Original-To"] == "bob@old.example", letter.fields
        text = letter.data.decode()
        for line in ['From: "Jones, A" <alice.jones@example.org>', "To: bob@example.org,", "\tTeam: carol (the one) <carol@example.org>, x@other.example;",
                     "Cc: <dave@example.org>", "Subject: ajones@old.example", "Message-ID: <1@old.example>", "body ajones@old.example"]:
            assert f"\n{line}\n" in text, (line, text)


@test("mail of others keeps its header, and has its envelope rewritten")
def _():
    with Server(domains={"example.org": {}, "old.example": {}}, rewriting={"canonical": CANONICAL}) as server:
        server.send(HEADER + b"\r\nx\r\n", ["bob@old.example"], sender="ajones@old.example")
        [letter] = server.wait_mail("bob", 1)
        assert letter["Return-Path"] == "<alice.jones@example.org>", letter.fields
        assert letter.data.endswith(HEADER.replace(b"\r\n", b"\n") + b"\nx\n"), letter.data


@test("what sendmail hands in has bare addresses completed and rewritten")
def _():
    with Server(rewriting={"canonical": {"root": "admin@example.org"}}) as server:
        done = server.called("sendmail", "-f", "root", "bob", input="From: root (Cron Daemon)\nTo: bob\nSubject: x\n\nhello\n")
        assert done.returncode == 0, done.out
        [letter] = server.wait_mail("bob", 1)
        assert letter["From"] == "admin@example.org (Cron Daemon)" and letter["To"] == "bob@example.org", letter.fields
        assert letter["Return-Path"] == "<admin@example.org>", letter.fields
        assert letter["Message-ID"] and letter["Date"]


@test("missing fields are added to mail that is made here, and to no other")
def _():
    with Server(rewriting={"local_header_clients": ["networks"]}) as server:
        queue_id = server.send(b"Subject: bare\r\n\r\nx\r\n", ["bob@example.org"], sender="alice@example.org")
        [letter] = server.wait_mail("bob", 1)
        assert letter["From"] == "alice@example.org" and letter["Message-ID"] == f"<{queue_id}@mx.example.org>", letter.fields
        assert email.utils.parsedate_to_datetime(letter["Date"])
        assert server.events("message.accepted")[0]["message_id"] == f"<{queue_id}@mx.example.org>"
    with Server() as server:
        server.send(b"Subject: bare\r\n\r\nx\r\n", ["bob@example.org"])
        [letter] = server.wait_mail("bob", 1)
        assert not {"From", "Date", "Message-ID"} & {name for name, _ in letter.fields}, letter.fields
    with Server(rewriting={"always_add_missing_headers": True}) as server:
        server.send(b"Subject: bare\r\n\r\nx\r\n", ["bob@example.org"])
        [letter] = server.wait_mail("bob", 1)
        assert letter["From"] == "sender@example.net", letter.fields


@test("generic rewrites what goes out, in envelope and header, and nothing that stays here; masquerading hides hosts")
def _():
    with Sink() as sink, Server(
            relayhost=f"[127.0.0.1]:{sink.port}", domains={"example.org": {}, "host.internal": {}},
            rewriting={"generic": {"@host.internal": "office@example.org", "alice@example.org": "alice.public@example.net"}, "masquerade_domains": ["corp.example"],
                       "local_header_clients": ["networks"]}) as server:
        data = b"From: A <alice@example.org>\r\nSender: root@host.internal\r\nTo: x@out.example, bob@example.org\r\nCc: y@deep.corp.example\r\nDate: x\r\nMessage-ID: <1>\r\n\r\nhi\r\n"
        server.send(data, ["x@out.example", "bob@example.org"], sender="root@host.internal")
        [letter] = server.wait_mail("bob", 1)
        assert letter["From"] == "A <alice@example.org>" and letter["Sender"] == "root@host.internal" and letter["Return-Path"] == "<root@host.internal>", letter.fields
        assert letter["Cc"] == "y@corp.example", letter.fields
        [(sender, recipients, sent)] = wait_for(lambda: sink.messages, what="the message at the sink")
        assert sender == "office@example.org" and recipients == ["x@out.example"], (sender, recipients)
        assert addresses(sent, "From", "Sender") == [("A", "alice.public@example.net"), ("", "office@example.org")], sent


@test("a message too large for memory is rewritten as it streams by, in and out")
def _():
    body = b"0123456789abcdef" * 4 + b"\r\n"
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", limits={"message_size": 20_000_000},
                                rewriting={"canonical": {"@old.example": "@example.org"}, "generic": {"@example.org": "@public.example"},
                                           "local_header_clients": ["networks"]}) as server:
        header = b"From: a@old.example\r\nTo: " + b",\r\n ".join(b"user%d@old.example" % number for number in range(3500)) + b"\r\nDate: x\r\nMessage-ID: <1>\r\n"
        data = header + b"\r\n" + body * 20_000
        server.send(data, ["x@out.example"], sender="a@old.example")
        [(sender, _, sent)] = wait_for(lambda: sink.messages, what="the message at the sink")
        assert sender == "a@public.example", sender
        found = addresses(sent, "From", "To")
        assert found[0] == ("", "a@public.example") and [address for _, address in found[1:]] == [f"user{number}@public.example" for number in range(3500)], found[:3]
        assert sent.endswith(b"\r\n\r\n" + body * 20_000)


@test("copies go to whom sender, recipient or every message has one, once, and nobody hears of their fate")
def _():
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", users={"alice": {}, "bob": {}, "carol": {}, "archive": {}, "spy": {}},
                                rewriting={"sender_bcc": {"alice@example.org": "spy"}, "recipient_bcc": {"@example.org": "in@archive.example", "carol": "bob"},
                                           "always_bcc": "archive"}) as server:
        server.send(message("one"), ["bob@example.org", "carol@example.org"], sender="alice@example.org")
        for user in ("bob", "carol", "archive", "spy"):
            server.wait_mail(user, 1)
        wait_for(lambda: sink.messages, what="the copy outside")
        server.wait_queue_empty()
        assert [entry[:2] for entry in sink.messages] == [("alice@example.org", ["in@archive.example"])]
        assert "NOTIFY=NEVER" in sink.transactions[0][1][0], sink.transactions
        server.send(message("two"), ["x@elsewhere.example"])
        server.wait_mail("archive", 2)


@test("explain shows what addresses become; check finds tables without an end, and copies to nobody")
def _():
    with Server(domains={"example.org": {}, "old.example": {}}, rewriting={"canonical": {"ajones@old.example": "alice", "@old.example": "@example.org"}, "always_bcc": "bob",
                                                                           "generic": {"@example.org": "@public.example"}}) as server:
        shown = server.valija("explain", server.manifest_path, "--rcpt", "ajones@old.example", "--from", "x@old.example")
        assert shown.returncode == 0 and "ajones@old.example becomes alice@example.org" in shown.out and "x@old.example becomes x@example.org" in shown.out, shown.out
        assert "bob@example.org gets a copy" in shown.out and "rewriting.always_bcc" in shown.out, shown.out
    broken = Server(start=False, rewriting={"canonical": {"a@x.example": "b@x.example", "b@x.example": "a@x.example"}, "always_bcc": "nobody"})
    done = run(BINARY, "check", broken.manifest_path)
    assert done.returncode == 1 and "without an end" in done.out and "nobody" in done.out, done.out


@test("rewriting lets nobody relay who may not, and leads to nobody who is not there")
def _():
    with Server(networks=["192.0.2.1/32"], rewriting={"canonical": {"in@outside.example": "alice@example.org", "out@example.org": "x@outside.example",
                                                                   "gone@example.org": "nobody@example.org"}}) as server:
        with Dialogue(server.port) as client:
            client.expect("EHLO x.example", "250")
            client.expect("MAIL FROM:<x@y.example>", "250")
            client.expect("RCPT TO:<in@outside.example>", "554 5.7.1")
            client.expect("RCPT TO:<gone@example.org>", "550 5.1.1")
            client.expect("RCPT TO:<out@example.org>", "250")
