"""What the client does with servers as they are: smtp-sink with its switches for failures, servers without 8BITMIME or with CHUNKING,
routes by recipient and by sender, and a fallback relay."""

import contextlib
import email
import os
import socket
import subprocess

from kit import *
from kit.names import NameServer

OUT = "someone@elsewhere.example"
EIGHT_BIT = ("Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
             "Grüße = 1\r\n").encode()


class SmtpSink:
    """Postfix's smtp-sink with these switches; its dump directory."""

    def __init__(self, *switches, host="127.0.0.1", port=None):
        self.host, self.port = host, port or free_port()
        self.dump = SCRATCH / f"dump-{self.host}-{self.port}"
        self.dump.mkdir()
        self.switches = switches

    def __enter__(self):
        as_root = ["-u", "root"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(["smtp-sink", *as_root, *self.switches, "-d", f"{self.dump}/m.", f"{self.host}:{self.port}", "100"], stderr=subprocess.DEVNULL)
        wait_for(lambda: self.answers(), what="smtp-sink")
        return self

    def answers(self):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((self.host, self.port), 5).close()
            return True

    @property
    def messages(self):
        return [path.read_bytes() for path in self.dump.glob("m.*")]

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


@contextlib.contextmanager
def exchangers(*switches, **keys):
    """Sinks that are the MX hosts of you.example in this order, each with its switches for failures; yields them and the server."""
    port = free_port()
    hosts = range(1, len(switches) + 1)
    zone = "".join(f"@ MX {host}0 mx{host}\nmx{host} A 127.0.3.{host}\n" for host in hosts)
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer({"you.example.": zone}))
        sinks = [stack.enter_context(SmtpSink(*given, host=f"127.0.3.{host}", port=port)) for host, given in zip(hosts, switches)]
        server = stack.enter_context(Server(
            dns={"resolvers": [names.resolver], "dnssec": "none"}, relayhost=f"you.example:{port}", queue={"retry": {"minimum": "1h", "maximum": "2h"}}, **keys))
        yield sinks, server


def first_event(server, queue_id):
    def events():
        return [event for event in server.log() if event["event"].startswith("delivery.") and event.get("queue_id") == queue_id]
    wait_for(events, what="a delivery")
    return events()[0]


# smtp-sink -r: refuses this command with 4xx; -q: hangs up at it. Its dump has what it refused, too.
for switches in (["-r", "CONNECT"], ["-r", "EHLO", "-r", "HELO"], ["-r", "MAIL"], ["-r", "RCPT"], ["-r", "DATA"], ["-r", "."], ["-q", "CONNECT"], ["-q", "EHLO"], ["-q", "MAIL"],
                 ["-q", "RCPT"], ["-q", "DATA"]):
    @test(f"after an exchanger like smtp-sink {' '.join(switches)} the next one is asked, and has the message")
    def _(switches=switches):
        # Without PIPELINING too: then each command waits for its reply.
        for quiet in ([], ["-p"]):
            with exchangers(switches + quiet, []) as (sinks, server):
                event = first_event(server, server.send(message("next"), [OUT, "other@elsewhere.example"], sender="alice@example.org"))
                assert event["event"] == "delivery.sent" and event["relay"].startswith("mx2.you.example[127.0.3.2]"), event
                server.wait_queue_empty()
                assert len(sinks[1].messages) == 1, sinks[1].messages


@test("5xx ends it, and a connection lost while the answer to the message was awaited leaves it to the queue")
def _():
    for switches, event in ((["-f", "MAIL"], "bounced"), (["-f", "RCPT"], "bounced"), (["-f", "DATA"], "bounced"), (["-f", "."], "bounced"), (["-q", "."], "deferred")):
        with exchangers(switches, []) as (sinks, server):
            got = first_event(server, server.send(message("ends"), [OUT], sender="alice@example.org"))
            assert got["event"] == f"delivery.{event}" and got["relay"].startswith("mx1.you.example"), (switches, got)
            assert not sinks[1].messages


@test("two exchangers that answer are asked for a message, or as many as delivery.mx_session_limit says; those that do not are not counted, but as addresses")
def _():
    later = ["-r", "RCPT"]
    for keys, last in (({}, 2), ({"mx_session_limit": 1}, 1), ({"mx_session_limit": 3}, 3), ({"mx_session_limit": 0}, 4)):
        with exchangers(later, later, later, later, delivery=keys) as (_, server):
            got = first_event(server, server.send(message("later"), [OUT]))
            assert got["event"] == "delivery.deferred" and got["relay"].startswith(f"mx{last}.you.example") and got["dsn"].startswith("4."), (keys, got)
    silent = ["-r", "CONNECT"]
    with exchangers(silent, silent, later, silent, []) as (sinks, server):
        assert first_event(server, server.send(message("fifth"), [OUT]))["event"] == "delivery.sent" and len(sinks[4].messages) == 1
    with exchangers(silent, silent, silent, [], delivery={"mx_address_limit": 3}) as (_, server):
        assert first_event(server, server.send(message("third"), [OUT]))["event"] == "delivery.deferred"


@test("only those recipients go on that were put off, and the fallback relay is the last to be asked for them")
def _():
    late = {"late@elsewhere.example", "never@elsewhere.example"}
    answers = lambda command, address: "450 4.2.0 later" if command == "RCPT" and address in late else None
    port = free_port()
    with NameServer({"you.example.": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.3.1\nmx2 A 127.0.3.2\n"}) as names, Sink(answers, host="127.0.3.1", port=port) as first, \
            Sink(lambda command, address: answers(command, address) if address.startswith("never") else None, host="127.0.3.2", port=port) as second, Sink() as fallback, \
            Server(dns={"resolvers": [names.resolver], "dnssec": "none"}, relayhost=f"you.example:{port}", delivery={"fallback_relay": f"[127.0.0.1]:{fallback.port}"}) as server:
        server.send(message("three ways"), ["now@elsewhere.example", *sorted(late)], sender="alice@example.org")
        server.wait_queue_empty()
        assert [recipients for _, recipients, _ in first.messages] == [["now@elsewhere.example"]], first.messages
        assert [recipients for _, recipients, _ in second.messages] == [["late@elsewhere.example"]], second.messages
        assert [recipients for _, recipients, _ in fallback.messages] == [["never@elsewhere.example"]], fallback.messages
        # Over the connections that are still open, too.
        server.send(message("again"), ["late@elsewhere.example"], sender="alice@example.org")
        server.wait_queue_empty()
        assert len(second.messages) == 2, second.messages
