"""The relayhost wants a login: Debian's Postfix with Dovecot's SASL, and Valija, by each mechanism; and what becomes of mail that a
relay would take from nobody."""

import base64
import json
import pathlib
import subprocess

from kit import *
from kit.postfix import Postfix, die_with_parent

USER, PASSWORD = "mx.example.org", "s3cret, with = and \\"
OUT = "someone@elsewhere.example"


class Relay(Postfix):
    """A Postfix that takes mail of those who log in, and of nobody else, and delivers it to smtp-sink: configured by hand."""

    def __init__(self, mechanisms, sink):
        home = pathlib.Path(subprocess.check_output(["mktemp", "-d", f"{SCRATCH}/relay-XXXXXX"], text=True).strip())
        configuration = home / "etc"
        configuration.mkdir()
        port = free_port()
        (configuration / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = relay.example.net\nmydestination =\nmynetworks =\nalias_maps =\nsmtputf8_enable = no\n"
            f"inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nrelayhost = [127.0.0.1]:{sink.port}\n"
            "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_sasl_security_options = noanonymous\n"
            "smtpd_relay_restrictions = permit_sasl_authenticated, reject\nsmtpd_sasl_authenticated_header = yes\n")
        services = [f"127.0.0.1:{port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
                    "tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
                    "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
                    "relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
                    "discard unix - - n - - discard", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd"]
        (configuration / "master.cf").write_text("\n".join(services) + "\n")
        self.home, self.mechanisms, self.dovecot = home, mechanisms, None
        super().__init__(configuration, home / "instance", port)

    def __enter__(self):
        super().__enter__()
        home = self.home / "dovecot"
        home.mkdir()
        hashed = run(BINARY, "password", "--scheme", "scram-sha-1" if "scram-sha-1" in self.mechanisms else "scram-sha-256", input=PASSWORD + "\n").out.strip()
        (home / "users").write_text(f"{USER}:{hashed}::::::\n")
        (home / "dovecot.conf").write_text(
            f"base_dir = {home}/run\nstate_dir = {home}/state\nlog_path = {home}/log\ninstance_name = {self.home.name}\nprotocols =\nssl = no\n"
            f"disable_plaintext_auth = no\nauth_mechanisms = {self.mechanisms}\nauth_failure_delay = 0\n"
            f"passdb {{\n  driver = passwd-file\n  args = {home}/users\n}}\nuserdb {{\n  driver = static\n  args = uid=65532 gid=65532 home=/nonexistent\n}}\n"
            f"service auth {{\n  user = root\n  unix_listener {self.directory}/queue/private/auth {{\n    mode = 0600\n    user = postfix\n  }}\n}}\n"
            "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n")
        self.dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(home / "dovecot.conf")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(home / "errors", "ab"), preexec_fn=die_with_parent)
        wait_for((self.directory / "queue/private/auth").exists, 15, "Dovecot's socket")
        return self

    def __exit__(self, *exception):
        self.dovecot.terminate()
        self.dovecot.wait(15)
        return super().__exit__(*exception)


def relayhost(port, password=PASSWORD, **more):
    return {"host": f"[127.0.0.1]:{port}", "username": USER, "password": password, "tls": "none", **more}


for mechanisms in ("plain", "login", "scram-sha-1", "scram-sha-256", "plain login scram-sha-256"):
    @test(f"Postfix with Dovecot as the relay takes a login, of {mechanisms}")
    def _(mechanisms=mechanisms):
        with Sink() as sink, Relay(mechanisms, sink) as relay:
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
    with Sink() as sink, Relay("plain login", sink) as relay, Server(relayhost=relayhost(relay.port, "wrong")) as server:
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
