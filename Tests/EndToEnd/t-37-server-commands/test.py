"""Commands beyond a plain message: EXPN, ETRN, BINARYMIME, LIMITS, and LMTP over TCP and a Unix socket."""

import os
import pathlib
import smtplib
import stat
import tempfile

from kit import *


def extensions(greeting):
    return {line[4:] for line in greeting.split("\n")[1:]}


@test("HELP, NOOP, RSET, VRFY and, where it is turned on, EXPN are answered; EXPN only to clients that may relay")
def _():
    with Server(networks=["127.0.0.1"], smtpd={"expn": True}, aliases={"postmaster": "alice", "team": ["alice", "bob", "x@elsewhere.example"]}) as server:
        with Dialogue(server.port) as client:
            assert "EXPN" in extensions(client.expect("EHLO client.example.net", "250"))
            assert "EXPN" in client.expect("HELP", "214")
            client.expect("NOOP with words", "250 2.0.0 Ok")
            client.expect("VRFY alice", "252 2.0.0 alice@example.org")
            assert client.ask("EXPN team") == "250-2.0.0 <alice@example.org>\n250-2.0.0 <bob@example.org>\n250 2.0.0 <x@elsewhere.example>"
            client.expect("EXPN nobody", "550 5.1.1")
            client.expect("EXPN", "501 5.5.4")
            client.expect("MAIL FROM:<a@b.example>", "250")
            client.expect("RSET", "250 2.0.0 Ok")
            client.expect("RCPT TO:<alice@example.org>", "503")
        with Dialogue(server.port, source="127.0.0.2") as stranger:
            stranger.expect("EXPN team", "550 5.7.1")
    with Server() as server, Dialogue(server.port) as client:
        client.expect("EXPN alice", "502 5.5.1")
        client.expect("ETRN example.org", "502 5.5.1")


@test("ETRN has what waits for a relay domain tried now, says how much that is, and is not for other domains")
def _():
    sink_port = free_port()
    relayed = {"example.org": {}, "branch.example": {"kind": "relay", "via": f"[127.0.0.1]:{sink_port}"},
               "sub.branch.example": {"kind": "relay", "via": f"[127.0.0.1]:{sink_port}"}}
    with Server(domains=relayed, queue={"retry": {"minimum": "1h", "maximum": "1h"}}) as server:
        for to in ("a@branch.example", "b@branch.example", "c@sub.branch.example"):
            server.send(message("waits"), to=[to])
        server.wait_event("delivery.deferred", count=3)
        with Sink(port=sink_port) as sink, Dialogue(server.port) as client:
            client.expect("ETRN branch.example", "503")
            assert "ETRN" in extensions(client.expect("EHLO branch.example", "250"))
            client.expect("ETRN", "501 5.5.4")
            client.expect("ETRN #name", "501 5.5.4")
            client.expect("ETRN example.org", "459 4.7.1 <example.org>: service unavailable")
            client.expect("ETRN elsewhere.example", "459 4.7.1")
            client.expect("ETRN branch.example", "253 2.0.0 Ok, 2 pending messages for node branch.example started")
            wait_for(lambda: len(sink.messages) == 2, what="two messages at the sink")
            client.expect("ETRN @branch.example", "253 2.0.0 Ok, 1 pending message for node branch.example started")
            wait_for(lambda: len(sink.messages) == 3, what="the third message at the sink")
            server.wait_queue_empty()
            client.expect("ETRN branch.example", "251 2.0.0")


@test("binary content comes by BDAT and lies in the Maildir to the last octet, small or large; DATA does not take it")
def _():
    with Server() as server:
        for body in (b"\0\r\n\n.\r\nbare\rbare\nx\xff", os.urandom(300_000)):
            text = b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body
            with Dialogue(server.port) as client:
                assert "BINARYMIME" in extensions(client.expect("EHLO client.example.net", "250"))
                client.expect("MAIL FROM:<sender@example.net> BODY=BINARYMIME", "250")
                client.expect("RCPT TO:<alice@example.org>", "250")
                client.expect("DATA", "503 5.5.1")
                client.write(b"BDAT %d\r\n" % 100 + text[:100] if len(text) > 1000 else b"BDAT 10\r\n" + text[:10])
                assert client.reply().startswith("250 2.0.0")
                rest = text[100:] if len(text) > 1000 else text[10:]
                client.write(b"BDAT %d LAST\r\n" % len(rest) + rest)
                assert client.reply().startswith("250 2.0.0 Ok: queued as ")
        files = wait_for(lambda: (lambda found: found if len(found) == 2 else None)(sorted((server.mail / "alice" / "new").glob("*"))), what="two files")
        stored = sorted((path.read_bytes() for path in files), key=len)
        assert stored[0].endswith(b"\r\n\r\n\0\r\n\n.\r\nbare\rbare\nx\xff"), stored[0][-80:]
        assert stored[1].endswith(text), len(stored[1])


@test("a limit of messages for a connection is announced, and ends it; so is that of recipients")
def _():
    with Server(limits={"messages_per_connection": 2, "recipients_per_message": 150}) as server, Dialogue(server.port) as client:
        assert "LIMITS RCPTMAX=150 MAILMAX=2" in extensions(client.expect("EHLO client.example.net", "250"))
        for _ in range(2):
            client.expect("MAIL FROM:<a@b.example>", "250")
            client.expect("RSET", "250")
        client.expect("MAIL FROM:<a@b.example>", "421 4.5.3")
        assert client.rest() == ""


@test("LMTP: LHLO, a reply for each recipient, over TCP and a Unix socket; no relaying over the socket; SMTP is not spoken there")
def _():
    port, path = free_port(), pathlib.Path(tempfile.mkdtemp(dir=SCRATCH)) / "lmtp.sock"
    with Server(networks=["127.0.0.1"], listen={"lmtp": [f"127.0.0.1:{port}", {"path": str(path), "mode": "0666"}]}) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        for client in (smtplib.LMTP("127.0.0.1", port), smtplib.LMTP(str(path))):
            with client:
                code, _ = client.lhlo("mda.example.org") if hasattr(client, "lhlo") else client.ehlo("mda.example.org")
                assert code == 250
                assert client.mail("sender@example.net")[0] == 250
                assert [client.rcpt(to)[0] for to in ("alice@example.org", "nobody@example.org", "bob@example.org")] == [250, 550, 250]
                client.putcmd("data")
                assert client.getreply()[0] == 354
                client.send(message("by lmtp") + b".\r\n")
                replies = [client.getreply() for _ in range(2)]
                assert [code for code, _ in replies] == [250, 250] and b"<alice@example.org>" in replies[0][1] and b"<bob@example.org>" in replies[1][1], replies
                code, text = client.docmd("EHLO", "x")
                assert code == 500, text
        with smtplib.LMTP(str(path)) as client:
            client.ehlo("mda.example.org")
            client.mail("sender@example.net")
            assert client.rcpt("x@elsewhere.example")[0] == 554
        for user in ("alice", "bob"):
            letters = server.wait_mail(user, 2)
            assert all(b" with LMTP id " in letter.data for letter in letters), letters[0].data[:600]
        done = run("swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", port, "--to", "carol@example.org", "--from", "sender@example.net")
        assert done.returncode == 0, done.out
        server.wait_mail("carol", 1)
