"""Mail from the clients that people use arrives whole."""

import email
import email.policy
import re

from kit import *

ANNOUNCED = {"PIPELINING", "SIZE", "VRFY", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING", "BINARYMIME", "LIMITS", "XVERP"}


@test("EHLO announces what there is and nothing else")
def _():
    with Server(limits={"message_size": 12345678}) as server, Dialogue(server.port) as client:
        assert re.match(r"220 mx\.example\.org ESMTP\b", client.greeting), client.greeting
        lines = client.ask("EHLO client.example.net").split("\n")
        assert lines[0].startswith("250-mx.example.org"), lines
        assert {line[4:].split(" ")[0] for line in lines[1:]} == ANNOUNCED, lines
        assert any(line[4:] == "SIZE 12345678" for line in lines), lines
        client.expect("HELO client.example.net", "250 mx.example.org")
        client.expect("NOOP", "250 2.0.0")
        client.expect("RSET", "250 2.0.0")
        client.expect("VRFY alice", "25")
        client.expect("HELP", "2")
        client.expect("WHAT", "50")
        client.expect("DATA", "503 5.5.1")
        client.expect("QUIT", "221 2.0.0")
        assert client.line() == b"", "the connection stays open after QUIT"


@test("a message from smtplib is stored to the last octet, with its trace on top")
def _():
    body = (".\r\n..\r\n.leading dots\r\n" "trailing blanks   \r\n" "\ttab\r\n" "\r\n\r\n" + "x" * 990 + "\r\n" "From the start\r\n").encode()
    body += bytes(range(0x80, 0x100)) + b"\r\n"
    sent = message("whole", body)
    with Server() as server:
        queue_id = server.send(sent, ["alice@example.org"], mail_options=["BODY=8BITMIME"])
        [letter] = server.wait_mail("alice", 1)
        letter.assert_holds(sent)
        assert letter["Return-Path"] == "<sender@example.net>", letter.fields
        assert letter["Delivered-To"] == "alice@example.org", letter.fields
        assert letter["X-Original-To"] == "alice@example.org", letter.fields
        received = letter["Received"]
        assert re.match(r"from client\.example\.net \(.*\[127\.0\.0\.1\]\)\s+by mx\.example\.org .*\bwith ESMTP\b.* id " + queue_id, received, re.S), received
        assert email.utils.parsedate_to_datetime(received.rsplit(";", 1)[1].strip()), received
        accepted = server.wait_event("message.accepted", queue_id=queue_id)
        assert accepted["from"] == "sender@example.net" and accepted["client"] == {"address": "127.0.0.1", "name": "localhost", "helo": "client.example.net"}, accepted
        assert accepted["size"] >= len(sent), accepted
        sent_event = server.wait_event("delivery.sent", queue_id=queue_id)
        assert sent_event["to"] == "alice@example.org" and sent_event["dsn"].startswith("2."), sent_event
        assert sent_event["service"] == "local" and "delay" in sent_event and "relay" in sent_event, sent_event


@test("HELO, upper and lower case, blanks: what old clients send is taken")
def _():
    with Server() as server, Dialogue(server.port) as client:
        client.expect("helo client", "250")
        client.expect("mail FROM: <sender@example.net>", "250 2.1.0")
        client.expect("RCPT to: <ALICE@Example.ORG>", "250 2.1.5")
        client.expect("data", "354")
        client.write(b"Subject: old\r\n\r\nhello\r\n.\r\n")
        assert client.reply().startswith("250 2.0.0 Ok: queued as "), "not accepted"
        [letter] = server.wait_mail("alice", 1)
        assert " with SMTP " in letter["Received"].replace("\n", " ").replace("\t", " "), letter.fields


@test("the null sender and several messages over one connection")
def _():
    with Server() as server:
        sent = [message(f"number {number}") for number in range(5)]
        with server.smtp() as client:
            client.ehlo()
            for data in sent:
                server.send_over(client, data, ["alice@example.org"], sender="")
        letters = server.wait_mail("alice", 5)
        assert sorted(letter["Subject"] for letter in letters) == [f"number {number}" for number in range(5)]
        assert {letter["Return-Path"] for letter in letters} == {"<>"}


@test("a pipelined envelope is answered reply by reply, and BDAT in chunks is one message")
def _():
    with Server() as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        sent = message("in chunks", "one\r\n.\r\ntwo\r\n")
        first, second = sent[:50], sent[50:]
        client.write(b"MAIL FROM:<sender@example.net> SIZE=%d\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
                     b"RCPT TO:<bob@example.org>\r\nBDAT %d\r\n%sBDAT %d LAST\r\n%s" % (len(sent), len(first), first, len(second), second))
        replies = [client.reply() for _ in range(6)]
        assert [reply[:9] for reply in replies[:4]] == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5"], replies
        assert replies[4].startswith("250 2.0.0") and replies[5].startswith("250 2.0.0 Ok: queued as "), replies
        for user in ("alice", "bob"):
            server.wait_mail(user, 1)[0].assert_holds(sent)


@test("SMTPUTF8: an internationalized sender and header arrive as they are")
def _():
    sent = message("привет, мир", "тело\r\n", sender="отправитель@пример.example")
    with Server() as server:
        with server.smtp() as client:
            client.ehlo()
            client.command_encoding = "utf-8"  # what smtplib sets when a caller asks for SMTPUTF8
            server.send_over(client, sent, ["alice@example.org"], "отправитель@пример.example", ["SMTPUTF8", "BODY=8BITMIME"])
        [letter] = server.wait_mail("alice", 1)
        letter.assert_holds(sent)
        assert "UTF8SMTP" in letter["Received"], letter.fields
        assert letter["Return-Path"] == "<отправитель@пример.example>", letter.fields


@test("DSN: NOTIFY=SUCCESS brings the sender a report with the envelope id; NOTIFY=NEVER does not")
def _():
    with Server() as server:
        server.send(message("asked"), ["alice@example.org"], sender="bob@example.org", mail_options=["RET=HDRS", "ENVID=QQ314159"],
                    rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;alice@example.org"])
        server.send(message("not asked"), ["alice@example.org"], sender="carol@example.org", rcpt_options=["NOTIFY=NEVER"])
        server.wait_mail("alice", 2)
        [report] = server.wait_mail("bob", 1)
        parsed = email.message_from_bytes(report.data, policy=email.policy.default)
        assert parsed.get_content_type() == "multipart/report" and parsed.get_param("report-type") == "delivery-status", parsed["Content-Type"]
        assert report["Return-Path"] == "<>", report.fields
        status = parsed.get_payload()[1].as_string()
        for line in ("Original-Envelope-Id: QQ314159", "Action: delivered", "Status: 2.", "Original-Recipient: rfc822;"):
            assert line.lower() in status.lower(), status
        server.wait_queue_empty()
        assert not server.letters("carol")


@test("swaks sends")
def _():
    sent = message("by swaks", "from swaks\r\n")
    with Server() as server:
        done = run("swaks", "--server", f"127.0.0.1:{server.port}", "--helo", "client.example.net", "--from", "sender@example.net",
                   "--to", "alice@example.org,bob@example.org", "--data", "-", input=sent[:-2])  # swaks ends the last line itself
        assert done.returncode == 0 and "250 2.0.0 Ok: queued as " in done.out, done.out
        for user in ("alice", "bob"):
            server.wait_mail(user, 1)[0].assert_holds(sent)


@test("curl sends")
def _():
    sent = message("by curl", "from curl\r\n.\r\n")
    file = SCRATCH / "letter"
    file.write_bytes(sent)
    with Server() as server:
        done = run("curl", "-sS", f"smtp://127.0.0.1:{server.port}", "--mail-from", "sender@example.net", "--mail-rcpt", "alice@example.org", "-T", file)
        assert done.returncode == 0, done.out
        server.wait_mail("alice", 1)[0].assert_holds(sent)


@test("smtp-source sends from parallel sessions, with and without a connection for each message")
def _():
    with Server() as server:
        for options in ([], ["-d"]):
            done = run("smtp-source", *options, "-s", 8, "-m", 100, "-l", 4096, "-f", "sender@example.net", "-t", "alice@example.org", f"127.0.0.1:{server.port}")
            assert done.returncode == 0, done.out
        letters = server.wait_mail("alice", 200)
        assert all(len(letter.body) >= 4000 for letter in letters)
        assert len({letter.path.name for letter in letters}) == 200


@test("a message of nine megabytes passes through, and costs little memory")
def _():
    sent = message("large", b"".join(b"%06d %s\r\n" % (number, b"y" * 83) for number in range(100_000)))
    with Server() as server:
        before = server.memory()
        server.send(sent, ["alice@example.org", "bob@example.org"])
        for user in ("alice", "bob"):
            server.wait_mail(user, 1)[0].assert_holds(sent)
        grown = server.memory("VmHWM") - before
        assert grown < 64 * 1024, f"{grown} KiB more"
