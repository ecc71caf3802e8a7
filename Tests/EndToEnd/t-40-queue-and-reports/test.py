"""What administrators do to waiting mail, when it is tried, and what senders are told: each kind of report, read by Python's email."""

import json
import sqlite3

from kit import *
from kit.reports import Report

NEVER = {"retry": {"minimum": "1h", "maximum": "1h"}}
OUT = "someone@elsewhere.example"


def deferred(server, *recipients, sender="alice@example.org", **options):
    queue_id = server.send(message("waits"), list(recipients) or [OUT], sender=sender, **options)
    wait_for(lambda: any(entry["queue_id"] == queue_id and entry["queue"] == "deferred" for entry in server.queue()), what="a deferred message")
    return queue_id


def reports(server, user, count=1):
    return [Report(letter) for letter in server.wait_mail(user, count)]


@test("queue expire: the sender gets the report that the end of the lifetime would bring, with the last reason; hold does not help")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        ids = [deferred(server), deferred(server, "b@elsewhere.example")]
        assert server.valija("queue", "hold", ids[1]).returncode == 0
        done = server.valija("queue", "expire", ids[0], "ABC")
        assert (done.returncode, done.out) == (1, "valija queue: no message ABC in the queue\n1 message expired\n"), done.out
        [report] = reports(server, "alice")
        assert report.actions == {OUT: "failed"} and report.recipients[OUT]["Status"].startswith("4.4.1"), report.recipients[OUT]
        assert "Connection refused" in report.text, report.text
        done = server.valija("queue", "expire", "ALL", "--json")
        assert json.loads(done.out) == {"expired": 1}, done.out
        assert {r for report in reports(server, "alice", 2) for r in report.actions} == {OUT, "b@elsewhere.example"}
        assert [event["queue_id"] for event in server.events("delivery.expired")] == ids
        server.wait_queue_empty()


@test("postsuper -e marks held mail and returns it once it is released; -f returns it at once; mailq shows the mark")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        ids = [deferred(server), deferred(server), deferred(server)]
        server.called("postsuper", "-h", "ALL")
        assert server.called("postsuper", "-e", ids[0]).out == f"postsuper: {ids[0]}: expired\npostsuper: Force-expired: 1 message\n"
        assert f"{ids[0]}!#" in server.called("mailq").out
        assert [json.loads(line)["forced_expire"] for line in server.called("postqueue", "-j").out.splitlines()] == [True, False, False]
        server.stop()
        server.start()  # the mark is kept
        server.called("postsuper", "-H", ids[0])
        server.wait_mail("alice", 1)
        assert server.called("postsuper", "-f", ids[1]).out == f"postsuper: {ids[1]}: expired\npostsuper: Force-expired: 1 message\n"
        server.wait_mail("alice", 2)
        assert [entry["queue_id"] for entry in server.queue()] == [ids[2]]


@test("a message that was never tried is returned as administratively expired")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        queue_id = deferred(server)
        server.valija("queue", "hold", queue_id)
        server.stop()
        with sqlite3.connect(server.spool / "spool.db") as database:
            database.execute("UPDATE recipient SET reply_code=NULL, reply_text=NULL")
            database.execute("UPDATE message SET attempts=0")
        database.close()
        server.start()
        assert server.valija("queue", "expire", queue_id).returncode == 0
        [report] = reports(server, "alice")
        assert report.recipients[OUT]["Status"] == "4.7.0" and "administratively expired" in report.text, report.text


@test("flush --to and postqueue -s try mail for that domain only")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        deferred(server, "a@one.example")
        deferred(server, "b@TWO.example", "c@three.example")

        def attempts():
            return [len(server.events("delivery.deferred", to=f"{who}")) for who in ("a@one.example", "b@TWO.example", "c@three.example")]

        # The queue tells before the log does, whose lines gather for a moment.
        wait_for(lambda: attempts() == [1, 1, 1], what="the first attempts in the log")
        done = server.valija("queue", "flush", "--to", "two.example")
        assert (done.returncode, done.out) == (0, "1 message flushed\n"), done.out
        wait_for(lambda: attempts() == [1, 2, 2], what="another attempt for two.example")
        assert server.called("postqueue", "-s", "one.example").returncode == 0
        wait_for(lambda: attempts() == [2, 2, 2], what="another attempt for one.example")
        assert server.valija("queue", "flush", "--to", "none.example", "--json").out == '{"flushed":0}\n'
        assert server.valija("queue", "flush", "--to", "a b").returncode == 64
        assert server.valija("queue", "flush", "--to", "one.example", "ABC").returncode == 64


@test("late mail is reported once to its sender, with NOTIFY obeyed, and to the postmaster where the manifest wants it")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", reports={"delay_warning": "1s", "delay_notice": "carol"}) as server:
        server.send(message("late"), ["plain@elsewhere.example"], sender="alice@example.org", mail_options=["ENVID=E9"])
        server.send(message("late"), ["want@elsewhere.example"], sender="bob@example.org", rcpt_options=["NOTIFY=DELAY"])
        server.send(message("late"), ["never@elsewhere.example"], sender="bob@example.org", rcpt_options=["NOTIFY=NEVER"])
        server.send(message("late"), ["fail@elsewhere.example"], sender="bob@example.org", rcpt_options=["NOTIFY=FAILURE"])
        [report] = reports(server, "alice")
        fields = report.recipients["plain@elsewhere.example"]
        assert report.mail["Subject"] == "Delayed Mail (still being retried)" and fields["Action"] == "delayed" and fields["Status"] == "4.4.1", fields
        assert report.message["Original-Envelope-Id"] == "E9" and fields["Will-Retry-Until"], list(fields.items())
        assert report.returned.get_content_type() == "text/rfc822-headers", report.returned.get_content_type()
        [report] = reports(server, "bob")
        assert report.actions == {"want@elsewhere.example": "delayed"}
        copies = reports(server, "carol", 2)
        assert {r for copy in copies for r in copy.actions} == {"plain@elsewhere.example", "want@elsewhere.example"}
        assert copies[0].mail["Subject"] == "Postmaster Warning: Delayed Mail"
        # Two more rounds, and nobody hears of it again.
        seen = len(server.events("delivery.deferred"))
        wait_for(lambda: len(server.events("delivery.deferred")) >= seen + 8, what="two more attempts of each")
        assert [len(server.letters(user)) for user in ("alice", "bob", "carol")] == [1, 1, 2]
        assert len(server.queue()) == 4
        server.valija("queue", "delete", "ALL")


@test("without delay_warning nobody hears of a delay, as with Postfix's default")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}") as server:
        server.send(message("late"), [OUT], sender="alice@example.org", rcpt_options=["NOTIFY=DELAY"])
        server.wait_event("delivery.deferred", count=3)
        assert not server.letters("alice")
        server.valija("queue", "delete", "ALL")


@test("NOTIFY=SUCCESS: delivered in a mailbox, relayed to a server without DSN, expanded at an alias of several")
def _():
    aliases = {"postmaster": "alice", "team": ["bob", "carol"], "one": "bob"}
    with Sink(extensions=("8BITMIME",)) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", aliases=aliases) as server:
        def told(*recipients):
            before = len(server.letters("alice"))
            for letter in server.letters("alice"):
                letter.path.unlink()
            server.send(message("asks"), list(recipients), sender="alice@example.org",
                             rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;x+2B{before}@client.example.net"])
            server.wait_queue_empty()
            return [Report(letter) for letter in server.letters("alice")]

        [report] = told("bob@example.org")
        assert report.actions == {"bob@example.org": "delivered"} and report.recipients["bob@example.org"]["Status"] == "2.0.0", report.actions
        assert report.mail["Subject"] == "Successful Mail Delivery Report"
        assert report.recipients["bob@example.org"]["Original-Recipient"].replace(" ", "").startswith("rfc822;x+"), list(report.recipients["bob@example.org"].items())
        [report] = told(OUT)
        assert report.actions == {OUT: "relayed"} and "127.0.0.1" in report.recipients[OUT]["Remote-MTA"], report.actions
        [report] = told("one@example.org")
        assert report.actions == {"bob@example.org": "delivered"}, "an alias of one is no list"
        [report] = told("team@example.org")
        assert report.actions == {"team@example.org": "expanded"} and report.recipients["team@example.org"]["Status"].startswith("2."), report.actions
        assert len(server.letters("carol")) == 1 and len(server.letters("bob")) == 3


@test("RET, returned_size and message/global: what comes back of a message that failed")
def _():
    refuse = lambda command, _: "550 5.1.1 no" if command == "RCPT" else None
    with Sink(refuse) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", reports={"returned_size": 20000}) as server:
        def returned(sent, *mail_options, to=OUT):
            for letter in server.letters("alice"):
                letter.path.unlink()
            client = server.smtp()
            client.ehlo()
            server.send_over(client, sent, [to], sender="alice@example.org", mail_options=mail_options)
            [report] = reports(server, "alice")
            return report

        small, large = message("small"), message("large", "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 300)
        report = returned(small)
        assert report.returned.get_content_type() == "message/rfc822" and report.returned.get_payload()[0]["Subject"] == "small"
        assert returned(small, "RET=FULL").returned.get_content_type() == "message/rfc822"
        report = returned(small, "RET=HDRS")
        assert report.returned.get_content_type() == "text/rfc822-headers" and "Subject: small" in report.returned.get_payload()
        assert "One line" not in report.returned.get_payload()
        assert returned(large).returned.get_content_type() == "text/rfc822-headers", "larger than reports.returned_size"
        assert returned(large, "RET=FULL").returned.get_content_type() == "text/rfc822-headers"
        report = returned(message("käfer".encode().decode("latin-1")).replace("käfer".encode().decode("latin-1").encode(), "käfer".encode()), "SMTPUTF8", "BODY=8BITMIME", to="jürgen@bücher.example")
        assert report.kind == "message/global-delivery-status" and report.returned.get_content_type() == "message/global", (report.kind, report.returned.get_content_type())
        assert report.recipients["jürgen@bücher.example"]["Final-Recipient"].startswith("utf-8;"), report.recipients
        assert report.actions == {"jürgen@bücher.example": "failed"}


@test("each wait is up to a tenth longer, by chance: what failed together is not tried together")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        for n in range(20):
            server.send(message("many"), [f"r{n}@elsewhere.example"])
        wait_for(lambda: sum(entry["queue"] == "deferred" for entry in server.queue()) == 20, what="twenty deferred messages")
        waits = sorted(entry["next_attempt"] for entry in server.queue())
        assert len({wait[:16] for wait in waits}) > 1, waits  # not in one minute
        server.valija("queue", "delete", "ALL")


@test("ORCPT of type utf-8: in ASCII it needs no SMTPUTF8; a report and the next hop have the address in ASCII, however it came (RFC 6533 section 3)")
def _():
    refuse = lambda command, address: "550 5.1.1 no" if command == "RCPT" and address.startswith("gone") else None
    with Sink(refuse) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org>", "250")
            client.expect(r"RCPT TO:<gone@b.example> ORCPT=utf-8;j\x{FC}rgen\x{2B}x@b.example", "250")
            client.expect(r"RCPT TO:<bob@b.example> ORCPT=utf-8;j\x{FC", "501 5.5.4")
            client.expect(r"RCPT TO:<bob@b.example> ORCPT=utf-8;a\x{0D}\x{0A}X-Forged:b", "501 5.5.4")
            client.expect("RCPT TO:<bob@b.example> ORCPT=utf-8;jürgen@b.example", "553 5.6.7")
            client.expect(r"RCPT TO:<bob@b.example> ORCPT=utf-8;\x{4F60}\x{597D}@b.example", "250")
            client.expect("DATA", "354")
            client.write(message("old name") + b".\r\n")
            assert client.reply().startswith("250")
        [report] = reports(server, "alice")
        assert report.kind == "message/delivery-status", report.kind
        assert report.recipients["gone@b.example"]["Original-Recipient"] == r"utf-8;j\x{FC}rgen\x{2B}x@b.example", report.recipients["gone@b.example"].items()
        assert sink.transactions[0][1] == [r"RCPT TO:<bob@b.example> ORCPT=utf-8;\x{4F60}\x{597D}@b.example"], sink.transactions
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org> SMTPUTF8", "250")
            client.expect("RCPT TO:<bob@b.example> ORCPT=utf-8;jürgen@b.example", "250")
            client.expect("DATA", "354")
            client.write(message("old name") + b".\r\n")
            assert client.reply().startswith("250")
        wait_for(lambda: len(sink.transactions) == 2, what="the second message")
        assert sink.transactions[1][1] == [r"RCPT TO:<bob@b.example> ORCPT=utf-8;j\x{FC}rgen@b.example"], sink.transactions
