"""Mail for outside: the relayhost, what each recipient is told, trying again, giving up, and reports."""

import email
import email.policy
import json
import os
import subprocess
import time

from kit import *

OUT = "someone@elsewhere.example"


def report_in(letter):
    """(status fields per message, [fields per recipient], what was returned) of an RFC 3464 report."""
    parsed = email.message_from_bytes(letter.data, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report" and parsed.get_param("report-type") == "delivery-status", parsed["Content-Type"]
    text, status, returned = parsed.get_payload()
    assert text.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status", [part.get_content_type() for part in parsed.get_payload()]
    whole, *recipients = status.get_payload()
    return whole, recipients, returned


@test("a message for outside reaches smtp-sink whole by the relayhost")
def _():
    port = free_port()
    dump = SCRATCH / "dump"
    dump.mkdir()
    as_root = ["-u", "root"] if os.geteuid() == 0 else []
    sink = subprocess.Popen(["smtp-sink", *as_root, "-d", f"{dump}/m.", f"127.0.0.1:{port}", "100"], stderr=subprocess.DEVNULL)
    try:
        with Server(relayhost=f"[127.0.0.1]:{port}") as server:
            sent = message("relayed", "one\r\n.\r\n..\r\ntwo\r\n")
            queue_id = server.send(sent, [OUT])
            done = server.wait_event("delivery.sent", queue_id=queue_id)
            assert done["to"] == OUT and done["service"] == "smtp" and "127.0.0.1" in done["relay"], done
            files = wait_for(lambda: list(dump.iterdir()), what="a file of smtp-sink")
            assert files[0].read_bytes().replace(b"\r\n", b"\n").rstrip(b"\n").endswith(sent.replace(b"\r\n", b"\n").rstrip(b"\n")), files[0].read_bytes()
            server.wait_queue_empty()
    finally:
        sink.kill()
        sink.wait()


@test("of three recipients one is refused: two are delivered, one comes back")
def _():
    with Sink(lambda command, address: "550 5.1.1 no such user" if (command, address) == ("RCPT", "b@elsewhere.example") else None) as sink, \
            Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        sent = message("to three")
        queue_id = server.send(sent, ["a@elsewhere.example", "b@elsewhere.example", "c@elsewhere.example"], sender="alice@example.org")
        [letter] = server.wait_mail("alice", 1)
        assert sorted(address for entry in sink.messages for address in entry[1]) == ["a@elsewhere.example", "c@elsewhere.example"]
        assert all(entry[2].endswith(sent) for entry in sink.messages)
        assert letter["Return-Path"] == "<>" and "Auto-Submitted" in dict(letter.fields), letter.fields
        whole, recipients, returned = report_in(letter)
        assert whole["Reporting-MTA"] == "dns; mx.example.org", whole
        assert len(recipients) == 1, recipients
        fields = recipients[0]
        assert fields["Final-Recipient"].replace(" ", "") == "rfc822;b@elsewhere.example" and fields["Action"] == "failed" and fields["Status"] == "5.1.1", fields
        assert "no such user" in fields["Diagnostic-Code"], fields
        assert b"to three" in returned.as_bytes()
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["to"] == "b@elsewhere.example" and bounced["dsn"] == "5.1.1" and "no such user" in bounced["reply"], bounced
        assert len(server.events("delivery.sent", queue_id=queue_id)) == 2
        server.wait_queue_empty()


@test("a recipient that is refused for now is tried again alone, and the others are not sent twice")
def _():
    refusals = ["450 4.2.1 not now"]
    with Sink(lambda command, address: refusals.pop() if (command, address) == ("RCPT", "b@elsewhere.example") and refusals else None) as sink, \
            Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        queue_id = server.send(message("again"), ["a@elsewhere.example", "b@elsewhere.example"], sender="alice@example.org")
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["to"] == "b@elsewhere.example" and deferred["dsn"] == "4.2.1", deferred
        server.wait_queue_empty()
        assert sorted(address for entry in sink.messages for address in entry[1]) == ["a@elsewhere.example", "b@elsewhere.example"]
        assert not server.letters("alice"), "a report about what was delivered"


@test("down, then up: the message waits, the commands show it, and it goes out by itself")
def _():
    port = free_port()
    with Server(relayhost=f"[127.0.0.1]:{port}") as server:
        queue_id = server.send(message("waits"), [OUT], sender="alice@example.org")
        server.wait_event("delivery.deferred", queue_id=queue_id)
        [entry] = server.queue()
        assert entry["queue_id"] == queue_id and entry["from"] == "alice@example.org", entry
        assert OUT in json.dumps(entry), entry
        shown = server.called("mailq")
        assert shown.returncode == 0 and queue_id in shown.out and OUT in shown.out and "alice@example.org" in shown.out, shown.out
        shown = server.valija("queue", "list")
        assert shown.returncode == 0 and queue_id in shown.out, shown.out
        shown = server.valija("queue", "show", queue_id)
        assert shown.returncode == 0 and "Subject: waits" in shown.out, shown.out
        with Sink(port=port) as sink:
            wait_for(lambda: sink.messages, what="the message at the sink")
            server.wait_queue_empty()
            assert len(sink.messages) == 1
        assert "empty" in server.called("mailq").out.lower()


@test("queue flush tries at once; queue delete forgets; both say what they did")
def _():
    port = free_port()
    with Server(relayhost=f"[127.0.0.1]:{port}", queue={"retry": {"minimum": "1h", "maximum": "1h"}}) as server:
        first, second, third = (server.send(message(f"held back {number}"), [OUT], sender="alice@example.org") for number in range(3))
        server.wait_event("delivery.deferred", count=3)
        gone = server.valija("queue", "delete", second)
        assert gone.returncode == 0, gone.out
        assert {entry["queue_id"] for entry in server.queue()} == {first, third}
        unknown = server.valija("queue", "delete", "ABCDEF0123")
        assert unknown.returncode != 0 and "ABCDEF0123" in unknown.out, (unknown.returncode, unknown.out)
        assert server.valija("queue", "show", second).returncode != 0
        with Sink(port=port) as sink:
            time.sleep(1.5)
            assert not sink.messages, "tried before its time"
            assert server.valija("queue", "flush").returncode == 0
            wait_for(lambda: len(sink.messages) == 2, what="both messages at the sink")
        server.wait_queue_empty()
        assert not server.letters("alice"), "deleting brings a report"
        server.send(message("another"), [OUT], sender="alice@example.org")
        assert server.valija("queue", "delete", "ALL").returncode == 0
        wait_for(lambda: not server.queue(), what="an empty queue")


@test("what waits survives a restart")
def _():
    port = free_port()
    server = Server(relayhost=f"[127.0.0.1]:{port}")
    ids = {server.send(message(f"over night {number}"), [OUT]) for number in range(5)}
    server.stop()
    server.start()
    assert {entry["queue_id"] for entry in server.queue()} == ids
    with Sink(port=port) as sink:
        wait_for(lambda: len(sink.messages) == 5, what="five messages at the sink")
        server.wait_queue_empty()
        assert sorted(entry[2].split(b"Subject: ")[1].split(b"\r\n")[0] for entry in sink.messages) == [b"over night %d" % number for number in range(5)]
    server.stop()


@test("many messages for one place share connections")
def _():
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        with server.smtp() as client:
            client.ehlo()
            for number in range(60):
                server.send_over(client, message(f"number {number}"), [OUT])
        wait_for(lambda: len(sink.messages) == 60, what="sixty messages at the sink")
        assert sink.connections < 30, f"{sink.connections} connections for 60 messages"
        server.wait_queue_empty()


@test("a message given up after its lifetime comes back with what was last heard")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue={"retry": {"minimum": "1s", "maximum": "1s"}, "lifetime": "3s"}) as server:
        queue_id = server.send(message("too old"), [OUT], sender="alice@example.org")
        [letter] = server.wait_mail("alice", 1, timeout=25)
        _, [fields], _ = report_in(letter)
        assert fields["Final-Recipient"].endswith(OUT) and fields["Action"] == "failed" and fields["Status"][0] in "45", fields
        assert server.events("delivery.deferred", queue_id=queue_id), "never tried again"
        assert server.wait_event("delivery.expired", queue_id=queue_id)["to"] == OUT
        server.wait_queue_empty()


@test("a bounce of a bounce is dropped, and the log says so")
def _():
    with Sink(lambda command, address: "550 5.1.1 no such user" if command == "RCPT" else None) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        server.send(message("from nowhere"), [OUT], sender="")
        server.wait_event("bounce.dropped")
        # A forged sender: the report to it fails as well, and that is the end of it.
        server.send(message("forged"), [OUT], sender="forged@elsewhere.example")
        server.wait_event("bounce.dropped", count=2)
        server.wait_queue_empty()
        assert not any(server.letters(user) for user in ("alice", "bob", "carol"))


@test("NOTIFY=NEVER brings no report, and a next hop with DSN is told what the client asked for")
def _():
    with Sink(lambda command, address: "550 5.1.1 no such user" if address == "never@elsewhere.example" and command == "RCPT" else None) as sink, \
            Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        server.send(message("quiet"), ["never@elsewhere.example"], sender="alice@example.org", rcpt_options=["NOTIFY=NEVER"])
        server.send(message("asked"), [OUT], sender="alice@example.org", mail_options=["RET=HDRS", "ENVID=QQ314159"], rcpt_options=["NOTIFY=SUCCESS,DELAY"])
        server.wait_queue_empty()
        assert any("ENVID=QQ314159" in line and "RET=HDRS" in line for line in sink.commands), sink.commands
        assert any("RCPT" in line and "NOTIFY=SUCCESS,DELAY" in line for line in sink.commands), sink.commands
        assert not server.letters("alice"), server.letters("alice")[0].data


@test("a next hop without DSN: the sender who asked hears that it was relayed")
def _():
    with Sink(extensions=("8BITMIME",)) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        server.send(message("asked"), [OUT], sender="alice@example.org", rcpt_options=["NOTIFY=SUCCESS"])
        [letter] = server.wait_mail("alice", 1)
        _, [fields], _ = report_in(letter)
        assert fields["Action"] == "relayed" and fields["Status"].startswith("2."), fields
        assert not any("NOTIFY" in line for line in sink.commands), sink.commands


@test("a next hop that answers 5xx to the message, 4xx to the greeting, or hangs up is dealt with")
def _():
    answers = {"connect": ["421 4.3.2 not now"], ".": ["451 4.3.0 try again", "554 5.6.0 not that"]}
    with Sink(lambda command, _: answers[command].pop(0) if answers.get(command) else None) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        queue_id = server.send(message("hard"), [OUT], sender="alice@example.org")
        [letter] = server.wait_mail("alice", 1, timeout=25)
        _, [fields], _ = report_in(letter)
        assert fields["Status"] == "5.6.0" and "not that" in fields["Diagnostic-Code"], fields
        assert len(server.events("delivery.deferred", queue_id=queue_id)) == 2
        assert not sink.messages
