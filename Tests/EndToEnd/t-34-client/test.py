"""What the client does with servers as they are: smtp-sink with its switches for failures, servers without 8BITMIME or with CHUNKING,
routes by recipient and by sender, and a fallback relay."""

import email
import os
import subprocess

from kit import *

OUT = "someone@elsewhere.example"
EIGHT_BIT = ("Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
             "Grüße = 1\r\n").encode()


class SmtpSink:
    """Postfix's smtp-sink with these switches; its dump directory."""

    def __init__(self, *switches):
        self.port = free_port()
        self.dump = SCRATCH / f"dump-{self.port}"
        self.dump.mkdir()
        self.switches = switches

    def __enter__(self):
        as_root = ["-u", "root"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(["smtp-sink", *as_root, *self.switches, "-d", f"{self.dump}/m.", f"127.0.0.1:{self.port}", "100"], stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def outcome_of(switches):
    """The first delivery event of a message to a sink with these switches."""
    with SmtpSink(*switches) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", queue={"retry": {"minimum": "1h", "maximum": "2h"}}) as server:
        queue_id = server.send(message("sink"), [OUT], sender="alice@example.org")
        wait_for(lambda: [event for event in server.log() if event["event"].startswith("delivery.") and event.get("queue_id") == queue_id], what="a delivery")
        return [event for event in server.log() if event["event"].startswith("delivery.") and event.get("queue_id") == queue_id][0]


for switches, event, words in [
    (["-r", "RCPT"], "delivery.deferred", "450"), (["-f", "RCPT"], "delivery.bounced", "500"), (["-r", "."], "delivery.deferred", "450"),
    (["-f", "DATA"], "delivery.bounced", "500"), (["-q", "MAIL"], "delivery.deferred", "lost connection"), (["-q", "DATA"], "delivery.deferred", "lost connection"),
    (["-r", "CONNECT"], "delivery.deferred", "refused to talk to me"), (["-w", "1"], "delivery.sent", "250"), (["-p"], "delivery.sent", "250"),
    (["-e"], "delivery.sent", "250"), (["-8"], "delivery.sent", "250"),
]:
    @test(f"smtp-sink {' '.join(switches)}: {event}")
    def _(switches=switches, event=event, words=words):
        got = outcome_of(switches)
        assert got["event"] == event and words in got["reply"], got


@test("8-bit mail for a server without 8BITMIME arrives as quoted-printable, and says the same")
def _():
    with Sink(extensions=("PIPELINING",)) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        queue_id = server.send(EIGHT_BIT, [OUT])
        server.wait_event("delivery.sent", queue_id=queue_id)
        octets = sink.messages[0][2]
        assert max(octets) < 128, octets
        parsed = email.message_from_bytes(octets)
        assert parsed["Content-Transfer-Encoding"] == "quoted-printable", parsed.items()
        assert parsed.get_payload(decode=True).decode() == "Grüße = 1\r\n", parsed.get_payload(decode=True)


@test("8-bit header fields have no 7-bit form: the sender hears of it, with 5.6.3")
def _():
    with Sink(extensions=("PIPELINING",)) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        queue_id = server.send("Subject: é\r\n\r\nx\r\n".encode(), [OUT], sender="alice@example.org")
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["dsn"] == "5.6.3" and not sink.messages, bounced


@test("one server relays to another with CHUNKING, small and large, and nothing changes on the way")
def _():
    small, large = message("small", ".\r\n..\r\nBDAT 3 LAST\r\n"), message("large", "0123456789\r\n" * 40_000)
    with Server(domains={"example.org": {}, "elsewhere.example": {}}) as inner, Server(relayhost=f"[127.0.0.1]:{inner.port}") as outer:
        for sent in small, large:
            outer.wait_event("delivery.sent", queue_id=outer.send(sent, ["bob@elsewhere.example"]))
        letters = inner.wait_mail("bob", 2)
        for sent in small, large:
            assert [letter for letter in letters if letter.data.endswith(sent.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"))], "a message changed"


@test("mail goes by the route of its recipient, then of its sender, then by the relayhost")
def _():
    with Sink() as partner, Sink() as sales, Sink() as rest, Server(
            relayhost=f"[127.0.0.1]:{rest.port}", routes={"partner.example": f"[127.0.0.1]:{partner.port}"},
            sender_routes={"@sales.example.org": f"[127.0.0.1]:{sales.port}"}) as server:
        for sender, to, sink in [("a@sales.example.org", "x@partner.example", partner), ("a@sales.example.org", "x@else.example", sales), ("a@example.org", "x@else.example", rest)]:
            server.wait_event("delivery.sent", queue_id=server.send(message("route"), [to], sender=sender))
            assert [entry[:2] for entry in sink.messages] == [(sender, [to])], (sender, to, sink.messages)


@test("mail for a host that cannot be reached goes to the fallback relay; what a host refuses does not")
def _():
    dead = free_port()
    with Sink() as fallback, Sink(lambda command, address: "550 5.1.1 no" if command == "RCPT" else None) as strict, Server(
            relayhost=f"[127.0.0.1]:{dead}", routes={"strict.example": f"[127.0.0.1]:{strict.port}"},
            delivery={"fallback_relay": f"[127.0.0.1]:{fallback.port}"}) as server:
        sent = server.wait_event("delivery.sent", queue_id=server.send(message("fallback"), [OUT]))
        assert f":{fallback.port}" in sent["relay"], sent
        server.wait_event("delivery.bounced", queue_id=server.send(message("strict"), ["x@strict.example"], sender="alice@example.org"))
        assert len(fallback.messages) == 1, fallback.messages
