"""The submission service: a login first, one's own senders only, and what else is different from port 25."""

import base64
import contextlib
import smtplib
import time

from kit import *

PASSWORD = "correct horse"


def hashed():
    done = run(BINARY, "password", "--scheme", "sha256crypt", input=PASSWORD + "\n")
    assert done.returncode == 0, done.out
    return done.out.strip()


def submission_server(**keys):
    port = free_port()
    hash = hashed()
    keys.setdefault("users", {
        "alice": {"password": hash, "name": "Alice Example", "send_as": ["office@elsewhere.example", "sales@example.org"]},
        "bob": {"password": hash}, "carol": {},
    })
    keys.setdefault("aliases", {"postmaster": "alice", "info": "alice", "sales": ["alice", "bob"]})
    keys.setdefault("domains", {"example.org": {}, "shop.example": {"kind": "virtual", "addresses": {"orders": "bob", "*": "alice"}}})
    submission = {"tls_auth_only": False, **keys.pop("submission", {})}
    server = Server(start=False, listen={"submission": [f"127.0.0.1:{port}"]}, submission=submission, **keys)
    server.submission_port = port
    return server


@contextlib.contextmanager
def logged_in(server, user="alice", source="127.0.0.1"):
    with smtplib.SMTP("127.0.0.1", server.submission_port, "client.example.net", 20, source_address=(source, 0)) as client:
        client.ehlo()
        client.login(user, PASSWORD)
        yield client


@test("nobody sends without a login, not even from networks or from loopback")
def _():
    with submission_server(networks=["127.0.0.0/8"]).start() as server:
        with Dialogue(server.submission_port) as client:
            client.expect("MAIL FROM:<alice@example.org>", "503 5.5.1")
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org>", "530 5.7.0 Authentication required")
            client.expect("VRFY bob", "530 5.7.0")
            client.expect("NOOP", "250")
            client.expect("RSET", "250")
            client.expect("AUTH PLAIN " + base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode(), "235 2.7.0")
            client.expect("VRFY bob", "252")
            client.expect("MAIL FROM:<alice@example.org> AUTH=<>", "250")
        refused = server.wait_event("message.rejected", count=2)[1]
        assert refused["dsn"] == "5.7.0" and refused["service"] == "submission", refused


@test("a user sends as what leads to that user alone, and as send_as says; anything else gets 553 5.7.1")
def _():
    with submission_server(address_extension="+", relayhost="[127.0.0.1]:1").start() as server:
        for user, allowed, refused in (
            ("alice", ["alice@example.org", "ALICE+news@example.org", "info@example.org", "office@elsewhere.example", "sales@example.org", "anything@shop.example", ""],
             ["bob@example.org", "orders@shop.example", "stranger@elsewhere.example", "nobody@example.org"]),
            ("bob", ["bob@example.org", "orders@shop.example", ""], ["alice@example.org", "sales@example.org", "info@example.org", "other@shop.example"]),
        ):
            with logged_in(server, user) as client:
                for sender in allowed + refused:
                    code, text = client.mail(sender)
                    assert code == (250 if sender in allowed else 553), (user, sender, code, text)
                    if code == 553:
                        assert text.decode() == f"5.7.1 <{sender}>: Sender address rejected: not owned by user {user}", text
                    client.rset()
        refused = server.wait_event("message.rejected", count=2)
        assert "users.alice" in refused[0]["rule"], refused[0]


@test("who is logged in sends to anywhere, from anywhere")
def _():
    with Sink() as sink, submission_server(networks=["192.0.2.1"], relayhost=f"[127.0.0.1]:{sink.port}").start() as server:
        with logged_in(server) as client:
            client.sendmail("alice@example.org", ["someone@elsewhere.example", "bob@example.org"], message("out and in", sender="alice@example.org"))
        server.wait_mail("bob", 1)
        wait_for(lambda: sink.messages, what="the message at the relay")
        assert sink.messages[0][1] == ["someone@elsewhere.example"]
        assert b" with ESMTPA id " in sink.messages[0][2], sink.messages[0][2]
        # Port 25 relays for nobody else.
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org>", "250")
            client.expect("RCPT TO:<someone@elsewhere.example>", "554 5.7.1")


@test("Received says where the user was, unless the manifest hides it")
def _():
    for hidden in (False, True):
        with submission_server(submission={"hide_client": hidden}).start() as server:
            with logged_in(server) as client:
                client.sendmail("alice@example.org", ["bob@example.org"], message("from home", sender="alice@example.org"))
            [letter] = server.wait_mail("bob", 1)
            received = letter["Received"]
            assert ("127.0.0.1" in received or "client.example.net" in received) != hidden, received
            assert "by mx.example.org (Valija) with ESMTPA id " in received, received
            # The log knows it all the same.
            assert server.wait_event("message.accepted")["client"]["address"] == "127.0.0.1"


@test("recipients of one message are limited for users apart from other clients")
def _():
    with submission_server(submission={"recipients_per_message": 2}, limits={"recipients_per_message": 100, "mailbox_size": 0}).start() as server:
        with logged_in(server) as client:
            client.mail("alice@example.org")
            answers = [client.rcpt(name)[0] for name in ("bob@example.org", "carol@example.org", "alice@example.org")]
            assert answers == [250, 250, 452], answers
        refused = server.wait_event("message.rejected")
        assert "submission.recipients_per_message" in refused["rule"], refused
        with server.smtp() as client:
            client.ehlo()
            client.mail("x@example.net")
            assert [client.rcpt(name)[0] for name in ("bob@example.org", "carol@example.org", "alice@example.org")] == [250] * 3


@test("a user sends so many messages and names so many recipients in a minute, from all places together; others go on")
def _():
    with submission_server(submission={"message_rate": 3, "recipient_rate": 4}).start() as server:
        codes = []
        for number in range(4):
            with logged_in(server, source=f"127.0.0.{number + 2}") as client:
                codes.append(client.mail("alice@example.org"))
                if codes[-1][0] == 250:
                    assert client.rcpt("bob@example.org")[0] == 250
        assert [code for code, _ in codes] == [250, 250, 250, 450], codes
        assert codes[3][1] == b"4.7.1 Error: too much mail from user alice", codes
        with logged_in(server, "bob") as client:
            client.mail("bob@example.org")
            assert [client.rcpt("alice@example.org")[0] for _ in range(5)] == [250] * 4 + [450]
        rules = [line["rule"] for line in server.wait_event("message.rejected", count=2)]
        assert "submission.message_rate" in rules[0] and "submission.recipient_rate" in rules[1], rules


@test("Date, Message-ID and From are added where they are missing, and nothing is where they are not; at port 25 neither")
def _():
    with submission_server(users={"alice": {"password": hashed(), "name": "Alice Example"}, "bob": {}, "carol": {}}, aliases={"postmaster": "alice"}).start() as server:
        bare = b"Subject: bare\r\n\r\nOne line.\r\n"
        with logged_in(server) as client:
            client.sendmail("alice@example.org", ["bob@example.org"], bare)
        [letter] = server.wait_mail("bob", 1)
        assert "alice@example.org" in letter["From"] and letter["Date"] and letter["Message-ID"].endswith("@mx.example.org>"), letter.data
        assert letter.body == b"One line.\n"
        server.send(bare, ["carol@example.org"])
        [letter] = server.wait_mail("carol", 1)
        letter.assert_holds(bare)


@test("a password that changes in the manifest counts after a reload")
def _():
    with submission_server().start() as server:
        with logged_in(server):
            pass
        text = server.manifest_path.read_text()
        server.manifest_path.write_text(text.replace('"users":', "users:").replace("  alice:\n    password: ", "  alice:\n    password: \"!\" # "))
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        try:
            with logged_in(server):
                assert False, "the old password still counts"
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535, error
        with logged_in(server, "bob"):
            pass


@test("a listener of submission comes and goes by a reload")
def _():
    with submission_server().start() as server:
        text = server.manifest_path.read_text()
        other = free_port()
        server.manifest_path.write_text(text.replace(f":{server.submission_port}", f":{other}"))
        done = server.valija("reload")
        assert done.returncode == 0 and f"submission 127.0.0.1:{other}" in done.out, done.out
        assert server.wait_event("listener.opened", address=f"127.0.0.1:{other}")["service"] == "submission"
        server.submission_port = other
        with logged_in(server) as client:
            client.sendmail("alice@example.org", ["bob@example.org"], message("after the reload", sender="alice@example.org"))
        server.wait_mail("bob", 1)
