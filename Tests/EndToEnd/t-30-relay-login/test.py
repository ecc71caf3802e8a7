"""The relayhost wants a login: Debian's Postfix with Dovecot's SASL, and Valija, by each mechanism; and what becomes of mail that a
relay would take from nobody."""

import base64
import json

from kit import *
from kit.relay import Relay

USER, PASSWORD = "mx.example.org", "s3cret, with = and \\"
OUT = "someone@elsewhere.example"


def relayhost(port, password=PASSWORD, **more):
    return {"host": f"[127.0.0.1]:{port}", "username": USER, "password": password, "tls": "none", **more}


for mechanisms in ("plain", "login", "scram-sha-1", "scram-sha-256", "plain login scram-sha-256"):
    @test(f"Postfix with Dovecot as the relay takes a login, of {mechanisms}")
    def _(mechanisms=mechanisms):
        with Sink() as sink, Relay(sink, logins=(mechanisms, USER, PASSWORD)) as relay:
            secret = relay.home / "secret"
            secret.write_text(PASSWORD + "\n")
            with Server(relayhost=relayhost(relay.port, {"file": str(secret)})) as server:
                sent = message("by a relay with a login")
                queue_id = server.send(sent, [OUT])
                done = server.wait_event("delivery.sent", queue_id=queue_id)
                assert "relay" in done and str(relay.port) in done["relay"], done
                wait_for(lambda: sink.messages, what=f"the message: {relay.log()}")
                best = mechanisms.split()[-1].upper()
                assert f"sasl_method={best}, sasl_username={USER}" in relay.log(), relay.log()
                text = server.log_path.read_text()
                assert PASSWORD not in text and base64.b64encode(PASSWORD.encode()).decode() not in text


@test("a wrong password defers the mail, and says what the relay said; the right one, after a reload, sends it", limit=90)
def _():
    with Sink() as sink, Relay(sink, logins=("plain login", USER, PASSWORD)) as relay, Server(relayhost=relayhost(relay.port, "wrong")) as server:
        queue_id = server.send(message("to wait"), [OUT])
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["dsn"] == "4.7.8" and "535 5.7.8" in deferred["reply"] and "wrong" not in deferred["reply"], deferred
        server.manifest_path.write_text(server.manifest_path.read_text().replace('password: "wrong"', "password: " + json.dumps(PASSWORD)))
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        server.wait_event("delivery.sent", queue_id=queue_id, timeout=30)
        server.wait_queue_empty()


@test("a relay that offers no login gets no mail that would bounce from it; one that could read the password gets none unless allowed")
def _():
    with Sink() as sink:
        with Server(relayhost=relayhost(sink.port)) as server:
            deferred = server.wait_event("delivery.deferred", queue_id=server.send(message("no login there"), [OUT]))
            assert deferred["dsn"] == "4.7.8" and "offers no AUTH" in deferred["reply"], deferred
            assert not any(command.startswith("MAIL") for command in sink.commands), sink.commands


@test("a Valija relays by another with SCRAM, whose proof counts: a relay that does not know the password gets nothing")
def _():
    hashed = run(BINARY, "password", "--scheme", "scram-sha-256", input=PASSWORD + "\n").out.strip()
    port = free_port()
    with Server(hostname="relay.example.net", origin="example.net", domains={"example.net": {}}, users={"carol": {}, "mx.example.org": {"password": hashed, "send_as": ["alice@example.org"]}},
                aliases={"postmaster": "carol"}, listen={"submission": [f"127.0.0.1:{port}"]}, submission={"tls_auth_only": False}) as relay, \
            Server(relayhost=relayhost(port)) as server:
        server.send(message("twice Valija"), ["carol@example.net"], sender="alice@example.org")
        relay.wait_mail("carol", 1)
        assert relay.wait_event("login.succeeded")["mechanism"] == "SCRAM-SHA-256"

    def takes_every_login(command, argument):
        return {"AUTH": "235 2.7.0 welcome"}.get(command)

    with Sink(takes_every_login, extensions=("PIPELINING", "AUTH SCRAM-SHA-256")) as sink, Server(relayhost=relayhost(sink.port)) as server:
        deferred = server.wait_event("delivery.deferred", queue_id=server.send(message("to an impostor"), [OUT]))
        assert "without proving that it knows the password" in deferred["reply"], deferred
        assert not any(command.startswith("MAIL") for command in sink.commands), sink.commands
