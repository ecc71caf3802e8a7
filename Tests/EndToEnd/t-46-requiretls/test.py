"""REQUIRETLS and TLS-Required: No (RFC 8689): who may ask for it, what of it goes on, and what becomes of mail whose way cannot be that."""

import hashlib
import json
import smtplib
import ssl

from kit import *
from kit.certificates import Authority, openssl
from kit.names import NameServer, own_network
from kit.reports import Report

own_network()
AUTHORITY = Authority(SCRATCH / "authority")
STRANGER = Authority(SCRATCH / "stranger")
CHAIN, KEY = AUTHORITY.issue("localhost")
TLS = {"level": "may", "certificate": CHAIN, "key": KEY, "outgoing": {"trust_store": str(AUTHORITY.certificate)}}
EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
OUT = "someone@elsewhere.example"
LATER = {"queue": {"retry": {"minimum": "1h", "maximum": "2h"}}}


def tls_server(**keys):
    return Server(tls=TLS, **keys)


def via(port):
    return f"[localhost]:{port}"


def send(server, to, *options, sender="alice@example.org", content=None, rcpt_options=()):
    """Over TLS; the queue id."""
    context = ssl.create_default_context(cafile=AUTHORITY.certificate)
    with smtplib.SMTP("localhost", server.port, local_hostname="client.example.net", timeout=30) as client:
        client.starttls(context=context)
        client.ehlo()
        return server.send_over(client, content or message("sealed"), to, sender, ["REQUIRETLS", *options], rcpt_options)


def queued(server):
    return [json.loads(line) for line in server.valija("queue", "list", "--json").out.splitlines()]


def outcome(server, queue_id):
    events = ("delivery.sent", "delivery.deferred", "delivery.bounced")
    return wait_for(lambda: [event for event in server.log() if event["event"] in events and event.get("queue_id") == queue_id], what="a delivery")[0]


@test("it is offered in TLS alone, and nowhere where the manifest turns it off")
def _():
    with tls_server() as server:
        with Dialogue(server.port) as client:
            assert "REQUIRETLS" not in client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<a@example.net> REQUIRETLS", "555 5.5.4")
        with smtplib.SMTP("localhost", server.port, timeout=30) as client:
            client.starttls()
            client.ehlo()
            assert client.has_extn("requiretls") and client.esmtp_features["requiretls"] == "", client.esmtp_features
            assert client.docmd("MAIL", "FROM:<a@example.net> REQUIRETLS=1")[0] == 501
            assert client.docmd("MAIL", "FROM:<a@example.net> REQUIRETLS REQUIRETLS")[0] == 501
    with Server(tls={**TLS, "requiretls": False}) as server, smtplib.SMTP("localhost", server.port, timeout=30) as client:
        client.starttls()
        client.ehlo()
        assert not client.has_extn("requiretls")
        assert client.docmd("MAIL", "FROM:<a@example.net> REQUIRETLS")[0] == 555


@test("a mailbox of this server is the end of the way; from one Valija to the next it stays with the message")
def _():
    dead = free_port()
    with tls_server(domains={"example.org": {}, "inner.example": {}}, relayhost=via(dead), **LATER) as inner, \
            tls_server(relayhost=via(inner.port)) as outer:
        send(outer, ["bob@example.org"])
        assert outer.wait_mail("bob", 1)[0]["Subject"] == "sealed"
        queue_id = send(outer, ["carol@inner.example", OUT])
        sent = outer.wait_event("delivery.sent", count=2, queue_id=queue_id)
        assert all(event["tls"]["verification"] == "verified" for event in sent), sent
        assert inner.wait_mail("carol", 1)[0]["Subject"] == "sealed"
        [entry] = wait_for(lambda: queued(inner), what="the message in the inner queue")
        assert entry["tls"] == "required", entry
        shown = inner.valija("queue", "show", entry["queue_id"]).out
        assert "TLS on the way: required (REQUIRETLS)" in shown, shown
        # Over a restart too.
        inner.stop()
        inner.start()
        assert [entry["tls"] for entry in queued(inner)] == ["required"]


@test("a hop without REQUIRETLS: back with 5.7.30, and the report has the header alone; without it the same hop takes mail")
def _():
    with Sink(certificate=(CHAIN, KEY)) as sink, tls_server(relayhost=via(sink.port)) as server:
        queue_id = send(server, [OUT], "RET=FULL", sender="alice@example.org")
        bounced = outcome(server, queue_id)
        assert bounced["event"] == "delivery.bounced" and bounced["dsn"] == "5.7.30" and "REQUIRETLS support required" in bounced["reply"], bounced
        report = Report(server.wait_mail("alice", 1)[0])
        assert report.recipients[OUT]["Status"] == "5.7.30" and report.returned.get_content_type() == "text/rfc822-headers", report.recipients
        assert "One line" not in report.text and not sink.messages
        assert not any("REQUIRETLS" in command or command.startswith("MAIL") for command in sink.commands), sink.commands
        # The connection that was made for it carries none of the others: they have a demand of their own.
        assert outcome(server, server.send(message("open"), [OUT]))["event"] == "delivery.sent"
        assert len(sink.messages) == 1


@test("a hop without TLS, or with a certificate of nobody, or for another: back with 5.7.10")
def _():
    cases = [{}, {"certificate": STRANGER.issue("localhost")}, {"certificate": AUTHORITY.issue("other.example")}]
    for keys in cases:
        with Sink(extensions=(*EXTENSIONS, "REQUIRETLS"), **keys) as sink, tls_server(relayhost=via(sink.port)) as server:
            bounced = outcome(server, send(server, [OUT]))
            assert bounced["event"] == "delivery.bounced" and bounced["dsn"] == "5.7.10" and "Encryption needed" in bounced["reply"], (keys, bounced)
            assert not sink.messages and not any(command.startswith("MAIL") for command in sink.commands), sink.commands
            # What requires nothing goes there as ever.
            assert outcome(server, server.send(message("open"), [OUT]))["event"] == "delivery.sent"


@test("a server that cannot be reached is no refusal: the message waits")
def _():
    with tls_server(relayhost=via(free_port()), **LATER) as server:
        deferred = outcome(server, send(server, [OUT]))
        assert deferred["event"] == "delivery.deferred" and deferred["dsn"] == "4.4.1", deferred


@test("the fallback relay has to do for it as well; where it does, it gets the message")
def _():
    with Sink(certificate=(CHAIN, KEY)) as first, Sink(certificate=(CHAIN, KEY), extensions=(*EXTENSIONS, "REQUIRETLS")) as second, \
            tls_server(relayhost=via(first.port), delivery={"fallback_relay": via(second.port)}) as server:
        assert outcome(server, send(server, [OUT], "RET=FULL"))["event"] == "delivery.sent"
        mail = second.transactions[0][0].split()
        assert "REQUIRETLS" in mail and "RET=FULL" not in mail and not first.messages, mail


@test("lists, aliases, forwards, copies and archives have it too, and so has sendmail")
def _():
    with Sink(certificate=(CHAIN, KEY), extensions=(*EXTENSIONS, "REQUIRETLS")) as sink:
        members = SCRATCH / "members"
        members.write_text("m1@elsewhere.example\nm2@elsewhere.example\n")
        with tls_server(
                relayhost=via(sink.port), users={"alice": {}, "dave": {"forward": ["d@elsewhere.example"]}},
                aliases={"postmaster": "alice", "team": ["t@elsewhere.example", "alice"], "list": [f":include:{members}"], "owner-list": "alice"},
                rewriting={"always_bcc": "archive@elsewhere.example"}) as server:
            send(server, ["team@example.org", "list@example.org", "dave@example.org"])
            wanted = {"t@elsewhere.example", "m1@elsewhere.example", "m2@elsewhere.example", "d@elsewhere.example", "archive@elsewhere.example"}
            wait_for(lambda: wanted <= {to for _, recipients, _ in sink.messages for to in recipients}, what="all copies")
            assert all(" REQUIRETLS" in mail for mail, _ in sink.transactions), sink.transactions
            count = len(sink.transactions)
            done = server.called("sendmail", "-O", "requiretls=yes", "-f", "alice@example.org", OUT, input="Subject: local\n\nx\n")
            assert done.returncode == 0, done.out
            wait_for(lambda: len(sink.transactions) > count, what="sendmail's message")
            assert " REQUIRETLS" in sink.transactions[-1][0], sink.transactions[-1]


@test("a report on its way out asks for it where it can be had, and goes without where it cannot (section 5)")
def _():
    def refuse(command, address):
        return "550 5.1.1 no such user" if command == "RCPT" and address == OUT else None

    for offered in (True, False):
        extensions = (*EXTENSIONS, "REQUIRETLS")
        with Sink(refuse, certificate=(CHAIN, KEY), extensions=extensions) as strict, \
                Sink(certificate=(CHAIN, KEY) if offered else None, extensions=extensions if offered else EXTENSIONS) as home, \
                tls_server(relayhost=via(strict.port), routes={"author.example": via(home.port)}) as server:
            send(server, [OUT], sender="author@author.example")
            wait_for(lambda: home.messages, what="the report")
            [(mail, _)] = home.transactions
            assert mail.startswith("MAIL FROM:<> ") and (" REQUIRETLS" in mail) == offered, mail
            octets = home.messages[0][2]
            assert b"Subject: sealed" in octets and b"One line" not in octets and b"5.1.1" in octets, octets
            # And so does a report of others that only passes here.
            send(server, ["author@author.example"], sender="")
            wait_for(lambda: len(home.messages) == 2, what="the second report")
            assert (" REQUIRETLS" in home.transactions[1][0]) == offered, home.transactions


@test("mailboxes that an LMTP server of this host keeps are the end of the way")
def _():
    with tls_server() as store:
        pass
    lmtp = SCRATCH / "lmtp"
    with Server(listen={"lmtp": [{"path": str(lmtp)}]}) as store, tls_server(mailboxes={"via": f"lmtp:unix:{lmtp}"}) as server:
        assert outcome(server, send(server, ["bob@example.org"]))["event"] == "delivery.sent"
        store.wait_mail("bob", 1)


@test("TLS-Required: No stays with the message and its reports; REQUIRETLS outweighs it; one of two such fields is none")
def _():
    waiving = b"TLS-Required: No\r\n" + message("open")
    with tls_server(relayhost=via(free_port()), **LATER) as server:
        wanted = {server.send(waiving, [OUT]): "not required", server.send(b"tls-required:no\r\n" + waiving, [OUT]): None, send(server, [OUT], content=waiving): "required",
                  server.send(message("plain"), [OUT]): None}
        assert {entry["queue_id"]: entry.get("tls") for entry in queued(server)} == wanted, queued(server)
    refuse = lambda command, _: "550 5.1.1 no such user" if command == "RCPT" else None
    with Sink(refuse) as sink, tls_server(relayhost=via(sink.port)) as server:
        server.send(waiving, [OUT], sender="alice@example.org")
        [letter] = server.wait_mail("alice", 1)
        assert letter["TLS-Required"] == "No", letter.fields


@test("TLS-Required: No does not undo what the manifest says of a destination, or of all")
def _():
    waiving = b"TLS-Required: No\r\n" + message("open")
    with Sink(certificate=STRANGER.issue("localhost")) as sink:
        hop = via(sink.port)
        for outgoing in ({"destinations": {hop: "verify"}}, {"level": "verify"}):
            with Server(tls={**TLS, "outgoing": {**TLS["outgoing"], **outgoing}}, relayhost=hop, **LATER) as server:
                assert outcome(server, server.send(waiving, [OUT]))["event"] == "delivery.deferred", outgoing
        assert not sink.messages
        with tls_server(relayhost=hop) as server:
            assert outcome(server, server.send(waiving, [OUT]))["event"] == "delivery.sent"
            assert sink.encrypted, "TLS is taken all the same where it is there"


def spki(chain):
    """SHA-256 of the certificate's key, as a TLSA record 3 1 1 has it."""
    key = openssl("x509", "-noout", "-pubkey", "-in", chain)
    (SCRATCH / "key.pem").write_text(key)
    openssl("pkey", "-pubin", "-in", SCRATCH / "key.pem", "-outform", "DER", "-out", SCRATCH / "key.der")
    return hashlib.sha256((SCRATCH / "key.der").read_bytes()).hexdigest()


@test("by MX records: DANE will do, and a certificate for the host where DNSSEC says that it is the right one, and nothing less", limit=120)
def _():
    theirs = STRANGER.issue("mx.dane.example")
    # For each domain: where its exchanger is, its certificate, and records beside it. Those of three have a host of another domain.
    hosts = {"signed": ("127.0.0.11", AUTHORITY.issue("mx.far.example"), "@ MX 10 mx.far.example.\n"),
             "dane": ("127.0.0.12", theirs, f"@ MX 10 mx\nmx A 127.0.0.12\n_25._tcp.mx TLSA 3 1 1 {spki(theirs[0])}\n"),
             "false": ("127.0.0.13", STRANGER.issue("mx.false.example"), f"@ MX 10 mx\nmx A 127.0.0.13\n_25._tcp.mx TLSA 3 1 1 {'0' * 64}\n"),
             "plain": ("127.0.0.14", AUTHORITY.issue("mx2.far.example"), "@ MX 10 mx2.far.example.\n"),
             "whole": ("127.0.0.15", AUTHORITY.issue("whole.example"), "@ MX 10 mx3.far.example.\n")}
    zones = {"example.": "".join(f"{name} NS ns.{name}\nns.{name} A 127.0.0.1\n" for name in (*hosts, "far")),
             "far.example.": "mx A 127.0.0.11\nmx2 A 127.0.0.14\nmx3 A 127.0.0.15", **{f"{name}.example.": records for name, (_, _, records) in hosts.items()}}
    signed = ["example.", "signed.example.", "dane.example.", "false.example.", "far.example."]
    with NameServer(zones, signed=signed) as names:
        sinks = {name: Sink(host=address, port=25, certificate=certificate, extensions=(*EXTENSIONS, "REQUIRETLS"))
                 for name, (address, certificate, _) in hosts.items()}
        with tls_server(dns=names.keys("example."), **LATER) as server:
            for name, dsn, verification in [("signed", None, "verified"), ("dane", None, "dane"), ("whole", None, "verified"), ("false", "5.7.10", None), ("plain", "5.7.10", None)]:
                got = outcome(server, send(server, [f"x@{name}.example"]))
                if dsn:
                    assert got["event"] == "delivery.bounced" and got["dsn"] == dsn and not sinks[name].messages, (name, got)
                else:
                    assert got["event"] == "delivery.sent" and got["tls"]["verification"] == verification, (name, got)
                    assert " REQUIRETLS" in sinks[name].transactions[0][0], sinks[name].transactions
        # What the domain says of itself, its author may waive; what the manifest says of it, not.
        for destinations, event in [({}, "delivery.sent"), ({"false.example": "dane"}, "delivery.deferred")]:
            outgoing = {**TLS["outgoing"], "level": "dane", "destinations": destinations}
            with Server(dns=names.keys("example."), tls={**TLS, "outgoing": outgoing}, **LATER) as server:
                assert outcome(server, server.send(message("kept"), ["x@false.example"]))["event"] == "delivery.deferred"
                waiving = server.send(b"TLS-Required: No\r\n" + message("waived"), ["x@false.example"])
                assert outcome(server, waiving)["event"] == event, destinations
        assert len(sinks["false"].messages) == 1 and sinks["false"].encrypted
        for sink in sinks.values():
            sink.close()
