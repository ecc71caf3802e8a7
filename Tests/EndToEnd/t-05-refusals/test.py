"""What is refused, and that a refusal harms neither the session nor others."""

import time

from kit import *


@test("a client outside networks may not relay; nor may tricks of old")
def _():
    with Server(networks=["192.0.2.0/24"]) as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<sender@example.net>", "250")
        client.expect("RCPT TO:<someone@elsewhere.example>", "554 5.7.1")
        for trick in ("someone%elsewhere.example@example.org", "elsewhere.example!someone@example.org", '"someone@elsewhere.example"@example.org',
                      "someone@[192.0.2.77]", "someone@example.org@elsewhere.example", "@example.org:someone@elsewhere.example", "<someone@elsewhere.example>"):
            client.expect(f"RCPT TO:<{trick}>", "5")
        client.expect("RCPT TO:<alice@example.org>", "250")
        refused = server.wait_event("message.rejected", to="someone@elsewhere.example")
        assert refused["reply"].startswith("554 5.7.1") and refused["client"]["address"] == "127.0.0.1", refused
        assert refused.get("rule"), f"no rule in {refused}"


@test("a sender's own domain earns no relaying either")
def _():
    with Server(networks=["192.0.2.0/24"]) as server, Dialogue(server.port) as client:
        client.expect("EHLO mx.example.org", "250")
        client.expect("MAIL FROM:<alice@example.org>", "250")
        client.expect("RCPT TO:<someone@elsewhere.example>", "554 5.7.1")


@test("a message that is too large is refused by its announced size and by its content, and the session goes on")
def _():
    with Server(limits={"message_size": 20000}) as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<sender@example.net> SIZE=20001", "552 5.3.4")
        client.expect("MAIL FROM:<sender@example.net>", "250")
        client.expect("RCPT TO:<alice@example.org>", "250")
        client.expect("DATA", "354")
        client.write(message("large", "0123456789" * 7 + "\r\n") + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 400 + b".\r\n")
        assert client.reply().startswith("552 5.3.4"), "accepted"
        client.expect("MAIL FROM:<sender@example.net>", "250")
        client.expect("RCPT TO:<alice@example.org>", "250")
        client.write(b"BDAT 30000 LAST\r\n" + b"z" * 30000)
        assert client.reply().startswith("552 5.3.4"), "accepted"
        client.expect("RSET", "250")
        client.envelope().expect("DATA", "354")
        client.write(message("small") + b".\r\n")
        assert client.reply().startswith("250 2.0.0"), "refused"
        assert [letter["Subject"] for letter in server.wait_mail("alice", 1)] == ["small"]


@test("one recipient too many gets 452 4.5.3, and the message goes to the others")
def _():
    with Server(limits={"recipients_per_message": 2}) as server, Dialogue(server.port) as client:
        client.envelope("alice@example.org").expect("RCPT TO:<bob@example.org>", "250")
        client.expect("RCPT TO:<carol@example.org>", "452 4.5.3")
        client.expect("DATA", "354")
        client.write(message("to two") + b".\r\n")
        assert client.reply().startswith("250 2.0.0"), "refused"
        server.wait_mail("alice", 1), server.wait_mail("bob", 1)
        assert not server.letters("carol")


INNER = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\x2e\x0b\r\n"]


@test("no false end of data smuggles a second message in", limit=120)
def _():
    with Server() as server:
        for end in ENDS:
            with Dialogue(server.port) as client:
                client.envelope().expect("DATA", "354")
                client.write(b"Subject: outer\r\n\r\nouter" + end + INNER)
                said = client.rest(timeout=1.5)
                assert said.count("queued as") <= 1, (end, said)
                assert not said.startswith("250") or "354" not in said, (end, said)
        server.wait_queue_empty()
        assert not server.letters("bob"), f"smuggled: {server.letters('bob')[0].data!r}"
        for letter in server.letters("alice"):
            assert letter["Subject"] == "outer", letter.fields


@test("a bare LF or CR in a message is refused with a reply of the protocol, and the session goes on")
def _():
    with Server() as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        for bad in (b"a\nb\r\n", b"a\rb\r\n", b"\n\r\n"):
            client.expect("MAIL FROM:<sender@example.net>", "250")
            client.expect("RCPT TO:<alice@example.org>", "250")
            client.expect("DATA", "354")
            client.write(b"Subject: bare\r\n\r\n" + bad + b".\r\n")
            reply = client.reply()
            assert reply.startswith("5") and reply[4:6] == "5.", (bad, reply)
        client.expect("NOOP", "250")
        assert not server.letters("alice")


@test("NUL and command lines without end get a clear answer")
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.write(b"EHLO " + b"x" * 5000 + b"\r\n")
            assert client.reply().startswith("50"), "taken"
            client.expect("EHLO client.example.net", "250")
            client.write(b"MAIL FROM:<a\0b@example.net>\r\n")
            assert client.reply().startswith("50"), "taken"
            client.expect("MAIL FROM:<sender@example.net>", "250")
            client.expect("RCPT TO:<alice@example.org>", "250")
            client.expect("DATA", "354")
            client.write(b"Subject: nul\r\n\r\na\0b\r\n.\r\n")
            assert client.reply().startswith("5"), "taken"
        with Dialogue(server.port) as client:  # a command line that never ends
            try:
                for _ in range(200):
                    client.write(b"x" * 65536)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert client.rest(2).startswith(("50", "421", "")), "odd"
        assert not server.letters("alice")
        assert server.memory("VmHWM") < 128 * 1024


@test("a line of a message may be long: it is stored whole")
def _():
    sent = message("long", b"x" * 200_000 + b"\r\n")
    with Server() as server:
        server.send(sent, ["alice@example.org"])
        server.wait_mail("alice", 1)[0].assert_holds(sent)


@test("more connections than a client may have get 421, and one that ends makes room")
def _():
    with Server(limits={"connections_per_client": 2}) as server:
        with Dialogue(server.port), Dialogue(server.port) as second:
            with Dialogue(server.port) as third:
                assert third.greeting.startswith("421 4.7.0"), third.greeting
                assert third.line() == b"", "still open"
            second.expect("QUIT", "221")
            second.close()

            def is_let_in():
                with Dialogue(server.port) as client:
                    return client.greeting.startswith("220")

            wait_for(is_let_in, what="a greeting")


@test("a web browser's request never becomes mail")
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.write(b"POST / HTTP/1.1\r\nHost: mx.example.org\r\nContent-Type: text/plain\r\n\r\n"
                         b"EHLO x\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: web\r\n\r\nweb\r\n.\r\nQUIT\r\n")
            said = client.rest(2)
            assert "queued as" not in said, said
            assert said.startswith(("5", "221", "421")), said
        with Dialogue(server.port, greeting=False) as client:  # talking before the greeting
            client.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert "queued as" not in client.rest(2)
        assert not server.letters("alice")


@test("a client that only makes errors is disconnected")
def _():
    with Server() as server, Dialogue(server.port) as client:
        for _ in range(200):
            try:
                reply = client.ask("NONSENSE")
            except (BrokenPipeError, ConnectionResetError):
                break
            if reply.startswith("421") or not reply:
                break
            assert reply.startswith("50"), reply
        else:
            raise AssertionError("200 errors, and still connected")


@test("commands out of order are refused, and none of it reaches a mailbox")
def _():
    with Server() as server, Dialogue(server.port) as client:
        client.expect("RCPT TO:<alice@example.org>", "503 5.5.1")
        client.expect("EHLO client.example.net", "250")
        client.expect("RCPT TO:<alice@example.org>", "503 5.5.1")
        client.expect("MAIL FROM:<sender@example.net>", "250")
        client.expect("MAIL FROM:<sender@example.net>", "503 5.5.1")
        client.expect("DATA", "5")
        client.expect("RCPT TO:<alice@example.org>", "250")
        client.expect("EHLO client.example.net", "250")  # resets
        client.expect("DATA", "503 5.5.1")
        client.expect("MAIL FROM:<sender@example.net> BODY=7BIT UNKNOWN=1", "555 5.5.4")
        client.expect("MAIL FROM:sender", "501 5")
        time.sleep(0.2)
        assert not server.letters("alice")
