"""Debian's Postfix as the sender, by its queue and its SMTP client, and as the next hop: STARTTLS, DSN, SMTPUTF8, SIZE, partial refusal,
deferral, kept connections. Postfix takes BDAT, and never sends it."""

import os
import pathlib
import re
import smtplib
import tempfile

from kit import *
from kit.certificates import Authority
from kit.postfix import Postfix
from kit.reports import Report

HERE = Authority(SCRATCH / "authority")
OUT = "elsewhere.example"  # the domain that Postfix has


class Peer(Postfix):
    """A Postfix whose mail for the outside goes to the server, with Maildirs for `games` and `news`; `more` is added to main.cf."""

    def __init__(self, server, **more):
        home = pathlib.Path(tempfile.mkdtemp(prefix="p-", dir=SCRATCH))
        for place in (home, SCRATCH):
            place.chmod(place.stat().st_mode | 0o711)
        self.mail = home / "mail"
        self.mail.mkdir()
        os.chown(self.mail, 65532, 65532)
        port = free_port()
        (home / "mail.yaml").write_text(to_yaml({
            "apiVersion": "valija/v1", "hostname": "mx.elsewhere.example", "origin": OUT, "domains": {OUT: {}},
            "users": {"games": {}, "news": {}}, "aliases": {"postmaster": "games"}, "networks": ["127.0.0.0/8"], "relayhost": f"[127.0.0.1]:{server.port}",
            "mailboxes": {"directory": str(self.mail)}, "listen": {"smtp": [f"127.0.0.1:{port}"]}}) + "\n")
        done = run(BINARY, "render", home / "mail.yaml", "-o", home / "etc", "--accounts", "virtual", "--owner", "65532:65532")
        assert done.returncode == 0, done.out
        super().__init__(home / "etc", home / "instance", port)
        self.command("postconf", "-e", "minimal_backoff_time=1s", "queue_run_delay=1s", "maximal_backoff_time=2s", *(f"{name}={value}" for name, value in more.items()))

    def command(self, name, *arguments):
        done = run(name, "-c", self.configuration, *arguments)
        assert done.returncode == 0, done.out
        return done.out

    def letters(self, user):
        return [Letter(path.read_bytes()) for path in sorted((self.mail / user / "new").glob("*"))]

    def send(self, data, to, sender="games@elsewhere.example", mail_options=(), rcpt_options=(), encoding="ascii"):
        with smtplib.SMTP("127.0.0.1", self.port, "client.example.net", 30) as client:
            client.command_encoding = encoding
            client.ehlo()
            assert client.mail(sender, mail_options)[0] == 250
            for recipient in to:
                code, text = client.rcpt(recipient, rcpt_options)
                assert code == 250, (recipient, code, text)
            code, text = client.data(data)
            assert code == 250, (code, text)


def body_of(octets):
    return octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


# Postfix as the sender


@test("Postfix verifies our certificate and sends in TLS 1.3 and 1.2; the message is what it was, for each recipient")
def _():
    for kind, protocols, version in (("ec", ">=TLSv1.2", "TLSv1.3"), ("rsa", "TLSv1.2", "TLSv1.2")):
        chain, key = HERE.issue("mx.example.org", kind)
        with Server(tls={"level": "encrypt" if kind == "ec" else "may", "certificate": chain, "key": key}) as server, Peer(
                server, smtp_tls_security_level="secure", smtp_tls_CAfile=str(HERE.certificate), smtp_tls_secure_cert_match="mx.example.org", smtp_tls_loglevel="1",
                smtp_tls_mandatory_protocols=protocols, smtp_tls_servername="mx.example.org") as postfix:
            sent = message("by Postfix", ".\r\n..\r\nx\r\n" * 20_000)
            postfix.send(sent, ["alice@example.org", "bob@example.org"])
            for user in "alice", "bob":
                [letter] = server.wait_mail(user, 1)
                assert letter.body == body_of(sent) and "with ESMTPS id" in letter.all("Received")[0] and f"using {version}" in letter.all("Received")[0], letter.all("Received")
            assert server.wait_event("message.accepted")["tls"]["version"] == version
            postfix.wait_queue_empty()
            assert "Verified TLS connection established" in postfix.log(), postfix.log()


@test("Postfix gets no certificate that it may trust: it keeps the mail, and the log of each says why")
def _():
    with Server(tls={"level": "may"}) as server, Peer(server, smtp_tls_security_level="secure", smtp_tls_CAfile=str(HERE.certificate), smtp_tls_secure_cert_match="mx.example.org") as postfix:
        postfix.send(message("kept"), ["alice@example.org"])
        wait_for(lambda: "status=deferred (Server certificate not trusted)" in postfix.log() or "status=deferred (Server certificate not verified)" in postfix.log(), 20, postfix.log())
        assert not server.events("message.accepted")


@test("DSN and SMTPUTF8 pass through Postfix to us: we report what was asked for, in the sender's own terms")
def _():
    with Server(relayhost=None) as server, Peer(server) as postfix:
        with open(server.manifest_path, "a") as file:
            file.write(f'relayhost: "[127.0.0.1]:{postfix.port}"\n')
        assert server.valija("reload").returncode == 0
        postfix.send(message("asked"), ["alice@example.org"], "games@elsewhere.example", ["RET=HDRS", "ENVID=PF314"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;Alice@old.example"])
        [letter] = wait_for(lambda: postfix.letters("games"), 20, "the report")
        report = Report(letter)
        assert report.actions == {"alice@example.org": "delivered"} and report.message["Original-Envelope-Id"] == "PF314", letter.data
        assert report.recipients["alice@example.org"]["Original-Recipient"] == "rfc822;Alice@old.example", letter.data
        sent = message("Grüße", "Grüße\r\n", sender="отправитель@пример.example")
        postfix.send(sent, ["alice@example.org"], "отправитель@пример.example", ["SMTPUTF8", "BODY=8BITMIME"], encoding="utf-8")
        letters = server.wait_mail("alice", 2)
        [letter] = [letter for letter in letters if letter["Return-Path"] == "<отправитель@пример.example>"]
        assert letter.body == body_of(sent) and "with UTF8SMTP" in letter.all("Received")[0], letter.data


@test("what we refuse comes back from Postfix's queue, what we defer is tried again, and the rest arrives once")
def _():
    with Server(limits={"message_size": 20_000}) as server, Peer(server) as postfix:
        postfix.send(message("half"), ["alice@example.org", "nobody@example.org", "bob@example.org"])
        server.wait_mail("alice", 1)
        server.wait_mail("bob", 1)
        [letter] = wait_for(lambda: postfix.letters("games"), 20, "the report")
        report = Report(letter)
        assert report.actions == {"nobody@example.org": "failed"} and report.recipients["nobody@example.org"]["Status"] == "5.1.1", letter.data
        postfix.send(message("large", "0123456789\r\n" * 4000), ["alice@example.org"], "news@elsewhere.example")
        [letter] = wait_for(lambda: postfix.letters("news"), 20, "the report")
        assert Report(letter).recipients["alice@example.org"]["Status"] == "5.3.4", letter.data
        text = server.manifest_path.read_text()
        server.manifest_path.write_text(text.replace('minimum_free: 0', 'minimum_free: "900TB"'))
        assert server.valija("reload").returncode == 0
        postfix.send(message("later"), ["alice@example.org"])
        wait_for(lambda: "452 4.3.1" in postfix.log(), 20, postfix.log())
        server.manifest_path.write_text(text)
        assert server.valija("reload").returncode == 0
        server.wait_mail("alice", 2, timeout=30)
        postfix.wait_queue_empty()


@test("Postfix keeps a connection for message after message")
def _():
    with Server() as server, Peer(server, smtp_connection_cache_destinations="[127.0.0.1]", smtp_destination_concurrency_limit="2") as postfix:
        for number in range(40):
            postfix.send(message(f"number {number}"), ["alice@example.org"])
        server.wait_mail("alice", 40, timeout=40)
        postfix.wait_queue_empty()
        assert "conn_use=" in postfix.log(), postfix.log()[-2000:]
        sessions = {event["session"] for event in server.events("message.accepted")}
        assert len(sessions) < 30, f"{len(sessions)} sessions for 40 messages"


# Postfix as the next hop


def pair(**more):
    """(server, Postfix), each the other's next hop."""
    server = Server(start=False)
    postfix = Peer(server, **more)
    with open(server.manifest_path, "a") as file:
        file.write(f'relayhost: "[127.0.0.1]:{postfix.port}"\n')
    return server, postfix


@test("mail goes to Postfix by BDAT or DATA, small and large, 8-bit, several recipients at once, every octet as it was")
def _():
    for more in {}, {"smtpd_discard_ehlo_keywords": "chunking, pipelining, dsn"}:
        server, postfix = pair(**more)
        with postfix, server.start():
            sent = [message("small", ".\r\n..\r\n.\r\nBDAT 3 LAST\r\n"), message("large", "0123456789\r\n.\r\n" * 40_000), message("8-bit", "Grüße\r\n")]
            for data in sent:
                queue_id = server.send(data, [f"games@{OUT}", f"news@{OUT}"], sender="alice@example.org")
                server.wait_event("delivery.sent", queue_id=queue_id, count=2)
            postfix.wait_queue_empty()
            for user in "games", "news":
                assert sorted(letter.body for letter in postfix.letters(user)) == sorted(body_of(data) for data in sent), user
            server.stop()
            # Each with QUIT, the one that was kept for more as well.
            wait_for(lambda: sum(map(int, re.findall(r"disconnect from .* mail=(\d).* quit=1 ", postfix.log()))) == 3, 20, f"the sessions' ends: {postfix.log()}")
            assert ("bdat=" in postfix.log()) == (not more), postfix.log()


@test("what Postfix refuses comes back with its words, what it defers is tried again; DSN and SMTPUTF8 are its business from then on")
def _():
    table = SCRATCH / "access"
    table.write_text(f"news@{OUT} DEFER 4.7.1 come back later\n")
    server, postfix = pair(smtpd_recipient_restrictions=f"check_recipient_access texthash:{table}, permit_mynetworks, reject")
    with postfix, server.start():
        sent = message("three")
        queue_id = server.send(sent, [f"games@{OUT}", f"nobody@{OUT}", f"news@{OUT}"], sender="alice@example.org")
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["to"] == f"news@{OUT}" and deferred["dsn"] == "4.7.1", deferred
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["to"] == f"nobody@{OUT}" and bounced["dsn"] == "5.1.1", bounced
        postfix.stop()  # also the session that is open, which has the table as it was
        table.write_text("")
        postfix.start()
        server.wait_queue_empty()
        postfix.wait_queue_empty()
        assert [letter.body for letter in postfix.letters("news")] == [letter.body for letter in postfix.letters("games")] == [body_of(sent)]
        server.send(message("asked"), [f"games@{OUT}"], sender="bob@example.org", mail_options=["ENVID=QQ1"], rcpt_options=["NOTIFY=SUCCESS"])
        [letter] = server.wait_mail("bob", 1, timeout=25)
        assert Report(letter).actions == {f"games@{OUT}": "delivered"} and Report(letter).message["Original-Envelope-Id"] == "QQ1", letter.data
        with server.smtp() as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            server.send_over(client, message("Grüße"), [f"games@{OUT}"], "отправитель@example.net", ["SMTPUTF8", "BODY=8BITMIME"])
        letters = wait_for(lambda: (lambda found: found if len(found) == 3 else None)(postfix.letters("games")), 20, "the message in UTF-8")
        assert any(letter["Return-Path"] == "<отправитель@example.net>" for letter in letters), letters
