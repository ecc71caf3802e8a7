"""TLS out: levels against Debian's Postfix, certificates that are right and wrong, servers that cheat at STARTTLS, and relays with a
login. In a network of the case's own, where port 25 is free."""

import json
import socket

from kit import *
from kit.certificates import Authority, openssl
from kit.names import NameServer, own_network
from kit.relay import Relay

own_network()
HERE, OTHER = Authority(SCRATCH / "authority"), Authority(SCRATCH / "other")
NAME = "mx.partner.example"
RIGHT = HERE.issue(NAME)
USER, PASSWORD = "mx.example.org", "s3cret, with = and \\"
OUT = "someone@elsewhere.example"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")


def selfsigned(name):
    chain, key = SCRATCH / f"{name}-self.pem", SCRATCH / f"{name}-self-key.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain)
    return str(chain), str(key)


def outgoing(level="may", **more):
    return {"outgoing": {"level": level, "trust_store": str(HERE.certificate), **more}}


def hop(sink):
    return f"[{sink.server.server_address[0]}]:{sink.port}"


def outcome(server, to=OUT, text="out", timeout=20):
    """What became of one message: the event."""
    queue_id = server.send(message(text), [to], sender="alice@example.org")

    def first():
        for event in ("delivery.sent", "delivery.deferred", "delivery.bounced"):
            if found := server.events(event, queue_id=queue_id):
                return found[0]

    found = wait_for(first, timeout, f"an outcome for {to}")
    if found["event"] != "delivery.sent":
        server.valija("queue", "delete", queue_id)
    return found


TLS_IN = {"smtpd_tls_loglevel": "1", "smtpd_tls_received_header": "yes", "smtpd_tls_chain_files": f"{RIGHT[1]}, {RIGHT[0]}"}


def receiver(level, sink):
    """Debian's Postfix that takes mail for everyone, at four addresses, with TLS at this level."""
    return Relay(sink, TLS_IN | {"smtpd_tls_security_level": level, "mynetworks": "127.0.0.0/8"}, addresses=ADDRESSES)


@test("Postfix at each of its levels gets mail at each of ours as the two allow it, and says the same of TLS", limit=120)
def _():
    ours = ["none", "may", "encrypt", "verify"]
    with Sink() as sink, receiver("none", sink) as none, receiver("may", sink) as may, receiver("encrypt", sink) as encrypt:
        receivers = {"none": none, "may": may, "encrypt": encrypt}
        routes, destinations = {}, {}
        for theirs, postfix in receivers.items():
            for level, address in zip(ours, ADDRESSES):
                place = f"[{address}]:{postfix.port}"
                routes[f"{level}.{theirs}.example"] = place
                destinations[place] = {"level": level, "names": [NAME]} if level == "verify" else level
        with Server(routes=routes, tls=outgoing(destinations=destinations)) as server:
            for theirs, postfix in receivers.items():
                for level in ours:
                    found = outcome(server, f"x@{level}.{theirs}.example")
                    what = (level, theirs, found)
                    if theirs == "none" and level in ("encrypt", "verify"):
                        assert found["event"] == "delivery.deferred" and found["dsn"] == "4.7.4" and "was not offered" in found["reply"], what
                    elif theirs == "encrypt" and level == "none":
                        assert found["event"] == "delivery.bounced" and found["dsn"] == "5.7.0" and "STARTTLS" in found["reply"], what
                    elif "none" in (level, theirs):
                        assert found["event"] == "delivery.sent" and "tls" not in found, what
                    else:
                        assert found["event"] == "delivery.sent" and found["tls"]["version"] == "TLSv1.3", what
                        assert found["tls"]["verification"] == ("verified" if level == "verify" else "none"), what
                        assert f"{found['tls']['version']} with cipher {found['tls']['cipher']}" in postfix.log(), postfix.log()
            for event in server.events("session.encrypted", service="smtp"):
                assert event["relay"].endswith(f":{may.port}") or event["relay"].endswith(f":{encrypt.port}"), event
            _, metrics = server.http("/metrics")
            assert 'valija_tls_connections_out_total{version="TLSv1.3",verification="none"} 4' in metrics, metrics
            assert 'valija_tls_connections_out_total{version="TLSv1.3",verification="verified"} 2' in metrics, metrics
        wait_for(lambda: len(sink.messages) == 9, what="all that was sent")
        # Postfix wrote it down: by its own Received, six of nine came in TLS.
        assert sum(b"using TLSv1.3" in octets for _, _, octets in sink.messages) == 6


@test("a certificate counts for its names, by an authority of the trust store, while it is valid; and where nobody asks, any does", limit=120)
def _():
    wildcard = HERE.issue("*.partner.example", file="wildcard")
    cases = {
        "right": (RIGHT, [NAME], None), "one of several names": (RIGHT, ["a.example", NAME], None), "a name under a domain": (RIGHT, [".partner.example"], None),
        "a wildcard": (wildcard, [NAME], None), "a wildcard is for one label": (wildcard, ["a.b.partner.example"], "ostname mismatch"),
        "another name": (RIGHT, ["mx.example.com"], "ostname mismatch"), "another name's end": (RIGHT, ["partner.example"], "ostname mismatch"),
        "expired": (HERE.issue(NAME, days=-1, file="expired"), [NAME], "certificate has expired"),
        "self-signed": (selfsigned(NAME), [NAME], "self-signed certificate"),
        "another authority's": (OTHER.issue(NAME, file="stranger"), [NAME], "self-signed certificate in certificate chain"),
    }
    sinks = {}
    try:
        for case, (certificate, _, _) in cases.items():
            for level in ("verify", "encrypt", "may"):
                sinks[case, level] = Sink(certificate=certificate)
        routes = {f"{level}.{number}.example": hop(sinks[case, level]) for number, case in enumerate(cases) for level in ("verify", "encrypt", "may")}
        destinations = {hop(sink): {"level": level, "names": cases[case][1]} if level == "verify" else level for (case, level), sink in sinks.items()}
        with Server(routes=routes, tls=outgoing(destinations=destinations)) as server:
            for number, (case, (_, names, fault)) in enumerate(cases.items()):
                for level in ("verify", "encrypt", "may"):
                    found = outcome(server, f"x@{level}.{number}.example")
                    sink = sinks[case, level]
                    if level == "verify" and fault:
                        assert (found["event"], found["dsn"]) == ("delivery.deferred", "4.7.5") and fault in found["reply"], (case, found)
                        assert not any("MAIL" in line for line in sink.commands), sink.commands
                        failed = server.events("tls.failed", relay=found["relay"])
                        assert fault in failed[0]["reason"], failed
                    else:
                        assert found["event"] == "delivery.sent" and sink.messages, (case, level, found)
                        assert found["tls"]["verification"] == ("verified" if level == "verify" else "none"), (case, level, found)
                        assert not any("MAIL" in line for line in sink.plain), sink.plain
    finally:
        for sink in sinks.values():
            sink.close()


def cut(connection):
    """The client's first flight, and then the end."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def garbage(connection):
    connection.recv(65536)
    connection.sendall(b"this is no TLS at all\r\n250 mx.partner.example\r\n")
    connection.settimeout(5)
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def silent(connection):
    connection.settimeout(20)
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def replies(**by_verb):
    return lambda verb, argument: by_verb.get(verb)


# What the server does, and what is said of it where TLS must be.
HOSTILE = {
    "offers no STARTTLS": (dict(), "4.7.4", "was not offered", False),
    "refuses STARTTLS for now": (dict(certificate=RIGHT, answers=replies(STARTTLS="454 4.7.0 TLS not available")), "4.7.4", "454 4.7.0 TLS not available", True),
    "refuses STARTTLS for ever": (dict(certificate=RIGHT, answers=replies(STARTTLS="502 5.5.1 what?")), "4.7.4", "502 5.5.1 what?", True),
    "says garbage in the handshake": (dict(handshake=garbage), "4.7.5", "wrong version number", True),
    "cuts the handshake": (dict(handshake=cut), "4.7.5", "closed the connection during the handshake", True),
    "falls silent in the handshake": (dict(handshake=silent), "4.7.5", "no handshake within 2 s", True),
}


@test("a server that has no TLS, or cheats at it, gets mail in clear at may, over a connection of its own, and none at encrypt and verify", limit=120)
def _():
    sinks = {(case, level): Sink(**options) for case, (options, *_) in HOSTILE.items() for level in ("may", "encrypt", "verify", "none")}
    try:
        routes = {f"{level}.{number}.example": hop(sinks[case, level]) for number, case in enumerate(HOSTILE) for level in ("may", "encrypt", "verify", "none")}
        destinations = {hop(sink): {"level": level, "names": [NAME]} if level == "verify" else level for (_, level), sink in sinks.items()}
        with Server(routes=routes, tls=outgoing(destinations=destinations), delivery={"timeouts": {"helo": "2s"}}) as server:
            for number, (case, (_, dsn, words, is_logged)) in enumerate(HOSTILE.items()):
                for level in ("encrypt", "verify"):
                    found = outcome(server, f"x@{level}.{number}.example")
                    assert (found["event"], found["dsn"]) == ("delivery.deferred", dsn) and words in found["reply"], (case, level, found)
                    commands = sinks[case, level].commands
                    assert not any(line.startswith(("MAIL", "RCPT", "DATA")) for line in commands), (case, level, commands)
                found = outcome(server, f"x@may.{number}.example")
                assert found["event"] == "delivery.sent" and "tls" not in found and sinks[case, "may"].messages, (case, found)
                failed = server.events("tls.failed", relay=found["relay"])
                assert bool(failed) == is_logged, (case, failed)
                if failed:
                    assert words in failed[0].get("reason", failed[0].get("reply")) and failed[0]["message"] == "the mail goes without", failed
                # A handshake that failed leaves nothing that could be talked on.
                assert sinks[case, "may"].connections == (2 if dsn == "4.7.5" else 1), (case, sinks[case, "may"].connections)
                found = outcome(server, f"x@none.{number}.example")
                assert found["event"] == "delivery.sent" and not any("STARTTLS" in line for line in sinks[case, "none"].commands), (case, found)
    finally:
        for sink in sinks.values():
            sink.close()


@test("what was slipped in before the handshake is not heard: the session begins anew in TLS")
def _():
    injected = "220 go ahead\r\n250-mx\r\n250-SIZE 1\r\n250 AUTH PLAIN\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n250 2.0.0 taken"
    with Sink(certificate=RIGHT, answers=replies(STARTTLS=injected)) as sink:
        with Server(relayhost=hop(sink), tls=outgoing("encrypt")) as server:
            found = outcome(server)
            assert found["event"] == "delivery.sent" and found["tls"]["version"] == "TLSv1.3", found
            assert sink.plain == ["EHLO mx.example.org", "STARTTLS"], sink.plain
            assert [line.split()[0] for line in sink.commands[2:6]] == ["EHLO", "MAIL", "RCPT", "DATA"], sink.commands
            assert len(sink.messages) == 1


ZONE = """
@ MX 10 mx1
@ MX 20 mx2
mx1 A 127.0.0.11
mx2 A 127.0.0.12
"""


@test("the next exchanger is tried where the first has no TLS; a certificate is for the domain and not for what its MX record says", limit=90)
def _():
    zones = {"partner.example.": ZONE, "elsewhere.example.": "@ MX 10 mx2.partner.example.\n"}
    with NameServer(zones) as names, Sink(host="127.0.0.11", port=25) as first, \
            Sink(host="127.0.0.12", port=25, certificate=HERE.issue("mx2.partner.example")) as second, \
            Server(dns={"resolvers": [names.resolver]}, tls=outgoing("verify", destinations={"named.example": "verify"})) as server:
        found = outcome(server, "x@partner.example")
        assert found["event"] == "delivery.sent" and "127.0.0.12" in found["relay"] and found["tls"]["verification"] == "verified", found
        assert second.encrypted == [("TLSv1.3", "mx2.partner.example")], second.encrypted
        assert first.connections == 1 and not first.messages
        found = outcome(server, "x@elsewhere.example")
        assert (found["event"], found["dsn"]) == ("delivery.deferred", "4.7.5") and "ostname mismatch" in found["reply"], found
        server.manifest_path.write_text(server.manifest_path.read_text().replace(
            '"named.example": "verify"', '"elsewhere.example": {level: verify, names: [mx2.partner.example]}'))
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        found = outcome(server, "x@elsewhere.example")
        assert found["event"] == "delivery.sent" and found["tls"]["verification"] == "verified", found


def relay(mechanisms, sink, implicit):
    """A Postfix that takes mail of those who log in, in TLS alone, from the first octet or after STARTTLS."""
    return Relay(sink, TLS_IN | {"smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes"}, 465 if implicit else None, implicit=implicit,
                 logins=(mechanisms, USER, PASSWORD))


def login(port, **more):
    return {"host": f"[127.0.0.1]:{port}", "username": USER, "password": PASSWORD, **more}


for mechanisms, implicit in (("plain", True), ("scram-sha-256", True), ("login", False), ("plain scram-sha-256", False)):
    @test(f"a relay gets the login in TLS, of {mechanisms}, {'from the first octet at port 465' if implicit else 'after STARTTLS'}")
    def _(mechanisms=mechanisms, implicit=implicit):
        with Sink() as sink, relay(mechanisms, sink, implicit) as postfix:
            place = f"[127.0.0.1]:{postfix.port}"
            with Server(relayhost=login(postfix.port), tls=outgoing(destinations={place: {"level": "verify", "names": [NAME]}})) as server:
                found = outcome(server)
                assert found["event"] == "delivery.sent" and found["tls"]["verification"] == "verified", (found, postfix.log())
                wait_for(lambda: sink.messages, what=f"the message: {postfix.log()}")
                assert f"sasl_method={mechanisms.split()[-1].upper()}, sasl_username={USER}" in postfix.log(), postfix.log()
                assert PASSWORD not in server.log_path.read_text()


for implicit in (True, False):
    @test(f"a login at another Valija is tied to its TLS (SCRAM-SHA-256-PLUS), {'from the first octet' if implicit else 'after STARTTLS'}")
    def _(implicit=implicit):
        hashed = run(BINARY, "password", "--scheme", "scram-sha-256", input=PASSWORD + "\n").out.strip()
        port = free_port()
        chain, key = RIGHT
        with Server(hostname="relay.example.net", origin="example.net", domains={"example.net": {}},
                    users={"carol": {}, "mx.example.org": {"password": hashed, "send_as": ["alice@example.org"]}}, aliases={"postmaster": "carol"},
                    listen={"submissions" if implicit else "submission": [f"127.0.0.1:{port}"]}, tls={"certificate": chain, "key": key}) as relay, \
                Server(relayhost=login(port, **({"implicit_tls": True} if implicit else {}))) as server:
            found = outcome(server, "carol@example.net")
            assert found["event"] == "delivery.sent" and found["tls"]["version"] == "TLSv1.3", found
            relay.wait_mail("carol", 1)
            assert relay.wait_event("login.succeeded")["mechanism"] == "SCRAM-SHA-256-PLUS"


@test("a password is shown to no relay in clear, whatever is the level for others, unless the manifest says that there is no TLS")
def _():
    login_taken = replies(AUTH="235 2.7.0 welcome")
    for level in ("none", "may", "dane"):
        with Sink(login_taken, extensions=("PIPELINING", "AUTH PLAIN LOGIN")) as sink, Server(relayhost=login(sink.port), tls=outgoing(level)) as server:
            found = outcome(server)
            assert (found["event"], found["dsn"]) == ("delivery.deferred", "4.7.4"), (level, found)
            assert not any("AUTH" in line for line in sink.commands), sink.commands
    with Sink(login_taken, extensions=("PIPELINING", "AUTH PLAIN")) as sink, Server(relayhost=login(sink.port, tls="none")) as server:
        assert outcome(server)["event"] == "delivery.sent" and any("AUTH PLAIN" in line for line in sink.commands)
    # One in TLS that is cheated at: as where nobody offers it.
    with Sink(login_taken, extensions=("PIPELINING", "AUTH PLAIN"), handshake=cut) as sink, Server(relayhost=login(sink.port)) as server:
        assert outcome(server)["dsn"] == "4.7.5" and not any("AUTH" in line for line in sink.commands)


@test("a relay at port 465 that does not speak TLS there gets nothing")
def _():
    with Sink(port=465) as sink, Server(relayhost="[127.0.0.1]:465", delivery={"timeouts": {"helo": "2s"}}) as server:
        found = outcome(server)
        assert (found["event"], found["dsn"]) == ("delivery.deferred", "4.7.5") and "wrong version number" in found["reply"], found
        assert not any("MAIL" in line for line in sink.commands)


@test("explain says what is asked of a relay's TLS; check --files and serve say that the authorities are missing")
def _():
    with Server(start=False, relayhost=login(587), routes={"bank.example": "mx"},
                tls=outgoing("dane", destinations={"bank.example": "verify"}), networks=["127.0.0.0/8"]) as server:
        told = {domain: json.loads(server.valija("explain", "--json", "--client", "127.0.0.1", "--rcpt", f"x@{domain}").out)["deliveries"][0]["tls"]
                for domain in ("bank.example", "elsewhere.example")}
        assert told == {"bank.example": "verify", "elsewhere.example": "dane"}, told
        text = server.valija("explain", "--client", "127.0.0.1", "--rcpt", "x@bank.example").out
        assert "by bank.example:25, in TLS with a certificate for bank.example or .bank.example" in text, text
        server.manifest_path.write_text(server.manifest_path.read_text().replace(str(HERE.certificate), "/nowhere/ca.pem"))
        done = run(BINARY, "check", "--files", server.manifest_path)
        assert done.returncode == 1 and "tls.outgoing.trust_store: /nowhere/ca.pem" in done.out, done.out
        assert run(BINARY, "check", server.manifest_path).returncode == 0
        server.spawn()
        assert server.process.wait(10) != 0
        assert "/nowhere/ca.pem" in server.errors() + "".join(map(str, server.log())), server.errors()
