"""What is refused, and that a refusal harms neither the session nor others."""

import re
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
# What some server has taken for a line end, or for none: https://smtpsmuggling.com and its scanner, smtpsmug, CVE-2023-51764 to -51766.
BREAKS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\0", b"\0\r\n", b"\r\0\n", b"\r\n ", b"\r\n\x0b", b"\x85", b"\xe2\x80\xa8"]
# Every pair of them around a dot, or a stuffed one, but for those that hold the true end.
ENDS = [before + dot + behind for dot in (b".", b"..") for before in BREAKS for behind in BREAKS + [b"\t\r\n"]
        if b"\r\n.\r\n" not in before + dot + behind]


@test("no false end of data smuggles a second message in", limit=120)
def _():
    with Server() as server:
        for end in ENDS:
            with Dialogue(server.port) as client:
                client.envelope().expect("DATA", "354")
                # Taken for the end, it would be followed by commands; as it is not, the inner message's end ends this one.
                client.write(b"Subject: outer\r\n\r\nouter" + end + INNER + b"QUIT\r\n")
                said = client.rest(timeout=10).splitlines()
                assert len(said) == 2 and said[1].startswith("221"), (end, said)
                is_bare = re.search(rb"(?<!\r)\n|\r(?!\n)|\0", end)
                assert said[0].startswith("550 5." if is_bare else "250 2.0.0 Ok: queued"), (end, said)
        server.wait_queue_empty()
        assert not server.letters("bob"), f"smuggled: {server.letters('bob')[0].data!r}"
        for letter in server.letters("alice"):
            assert letter["Subject"] == "outer" and b"MAIL FROM:<evil@example.net>" in letter.data, letter.fields


@test("nor does one in a chunk, or over the border of two, or in a chunk of a message that was refused", limit=120)
def _():
    with Server() as server:
        for end in [b"\r\n.\r\n", *ENDS]:
            content = b"Subject: outer\r\n\r\nouter" + end + INNER
            for pieces in ([content], [content[:23 + len(end) // 2], content[23 + len(end) // 2:]]):
                with Dialogue(server.port) as client:
                    client.envelope()
                    for piece in pieces:
                        client.write(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if piece is pieces[-1] else b"") + piece)
                    client.write(b"QUIT\r\n")
                    said = client.rest(timeout=10).splitlines()
                    assert len(said) == len(pieces) + 1 and said[-1].startswith("221"), (end, said)
                    is_bare = re.search(rb"(?<!\r)\n|\r(?!\n)|\0", end)
                    assert said[-2].startswith("550 5." if is_bare else "250 2.0.0 Ok: queued"), (end, said)
        server.wait_queue_empty()
        assert not server.letters("bob"), f"smuggled: {server.letters('bob')[0].data!r}"


@test("what is sent on has no line end but CRLF and no end but the last, whatever came in, by DATA, BDAT or sendmail", limit=120)
def _():
    for extensions in [(), ("CHUNKING",), ("CHUNKING", "BINARYMIME")]:
        with StrictSink(*extensions) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
            taken = 0
            for end in ENDS:
                content = b"Subject: outer\r\n\r\nouter" + end + b"MAIL FROM:<evil@example.net>\r\n"
                with Dialogue(server.port) as client:
                    client.envelope(to="someone@elsewhere.example")
                    client.write(b"BDAT %d LAST\r\n" % len(content) + content)
                    taken += client.reply().startswith("250")
            for end in [b"\r\n.\r\n", b"\r\n..\r\n", b"\r.\r", b"\n.\n", b"\r\n.\n"]:
                done = server.called("sendmail", "-i", "-f", "alice@example.org", "someone@elsewhere.example", input=b"Subject: outer\n\nouter" + end + b"rest\n")
                assert done.returncode == 0, done.out
                taken += 1
            wait_for(lambda: len(sink.contents) >= taken, what=f"{taken} messages at the sink")
            server.wait_queue_empty()
            assert len(sink.contents) == taken and not sink.flaws, (len(sink.contents), taken, sink.flaws[:1])
            assert not any("evil@" in command for command in sink.commands)
            for verb, octets in sink.contents:
                assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets), (verb, octets)
                assert verb == "BDAT" or not re.search(rb"(?:^|\r\n)\.(?!\.)", octets), octets


@test("binary content leaves in chunks, or as base64, or not at all; a report of it has lines", limit=120)
def _():
    outer = b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    evil = b"\n.\nMAIL FROM:<evil@example.net>\nRCPT TO:<x@elsewhere.example>\nDATA\n.\n\r.\r\r\n.\r\nMAIL FROM:<evil@example.net>\r\n\0"
    messages = {"body": outer + evil, "header": b"X: y" + evil + b": z\r\n" + outer + b"x", "end of header": outer[:-2] + b"\n" + evil,
                "margin": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + evil + b"\r\n--b\r\n\r\nx\r\n--b--\r\n" + evil,
                "boundary": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\n\r\n" + evil + b"\r\n--b--\n"}
    for extensions in [(), ("CHUNKING",), ("CHUNKING", "BINARYMIME")]:
        with StrictSink(*extensions) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
            sink.refused = {"gone@elsewhere.example"}
            for content in messages.values():
                with Dialogue(server.port) as client:
                    client.expect("EHLO client.example.net", "250")
                    client.expect("MAIL FROM:<sender@outside.example> BODY=BINARYMIME", "250")
                    client.expect("RCPT TO:<someone@elsewhere.example>", "250")
                    client.expect("RCPT TO:<gone@elsewhere.example>", "250")
                    client.write(b"BDAT %d LAST\r\n" % len(content) + content)
                    assert client.reply().startswith("250"), content
            server.wait_queue_empty()
            assert not sink.flaws, sink.flaws[0]
            assert not any("evil@" in command for command in sink.commands), sink.commands
            reports = [octets for _, octets in sink.contents if b"multipart/report" in octets]
            others = [(verb, octets) for verb, octets in sink.contents if b"multipart/report" not in octets]
            assert len(reports) == len(messages), len(reports)
            for octets in reports:
                assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets), octets
            if "BINARYMIME" in extensions:
                assert len(others) == len(messages) and all(any(octets.endswith(content) for content in messages.values()) for _, octets in others)
            else:
                # The body is base64, the margin has no such octets, and the rest is no structure of lines.
                assert len(others) == 2 and {verb for verb, _ in others} == {"BDAT" if extensions else "DATA"}, others
                assert not any(re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets) for _, octets in others), others
                assert len(server.events("delivery.bounced", dsn="5.6.3")) == 6, [event for event in server.log() if event["event"].startswith("delivery.")]


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
