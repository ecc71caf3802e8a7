"""DANE (RFC 7672): mail to hosts with TLSA records of every kind in signed zones, and the verdict of Debian's posttls-finger on the same.
In a network of the case's own, with Knot as the name server, Unbound as the resolver that validates for both, and servers at port 25."""

import contextlib
import hashlib
import pathlib
import re
import socket
import subprocess
import threading

from kit import *
from kit.certificates import Authority, openssl
from kit.daemon import Daemon
from kit.names import NameServer, own_network

own_network()
HERE, OTHER = Authority(SCRATCH / "authority"), Authority(SCRATCH / "other")


def der(kind, chain):
    """Of the first certificate of a file: itself, or its public key."""
    text = run("openssl", "x509", "-in", chain, "-outform", "DER", "-out", SCRATCH / "der").out if kind == 0 else run(
        "sh", "-c", f"openssl x509 -in {chain} -noout -pubkey | openssl pkey -pubin -outform DER -out {SCRATCH}/der").out
    assert not text.strip(), text
    return (SCRATCH / "der").read_bytes()


def tlsa(usage, selector, matching, chain, wrong=False):
    octets = der(selector, chain)
    data = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
    if wrong:
        data = bytes(255 - octet for octet in data)
    return f"{usage} {selector} {matching} {data.hex()}"


EXPIRED = HERE.issue("mx.expired.dane.example", days=-1, file="expired")
NAMED = HERE.issue("mx.named.dane.example", file="named")
NEXT_HOP = HERE.issue("nexthop.dane.example", file="nexthop")
STRANGE = HERE.issue("elsewhere.example", file="strange")
OWN = OTHER.issue("own.example", file="own")
CA = HERE.certificate
PLAIN = object()

# The name below dane.example: the server's certificate (PLAIN: it has no STARTTLS), its TLSA records, what becomes of the mail, and what
# posttls-finger says. Each is its own MX domain, with the host mx in it.
CASES = {
    "ee": (OWN, [tlsa(3, 1, 1, OWN[0])], "dane", "Verified"),
    "eecert": (OWN, [tlsa(3, 0, 1, OWN[0])], "dane", "Verified"),
    "eelong": (OWN, [tlsa(3, 1, 2, OWN[0])], "dane", "Verified"),
    "eewhole": (OWN, [tlsa(3, 1, 0, OWN[0])], "dane", "Verified"),
    "expired": (EXPIRED, [tlsa(3, 1, 1, EXPIRED[0])], "dane", "Verified"),
    "rolled": (OWN, [tlsa(3, 1, 1, NAMED[0]), tlsa(3, 1, 1, OWN[0])], "dane", "Verified"),
    "mismatch": (OWN, [tlsa(3, 1, 1, OWN[0], wrong=True)], "4.7.5", "Untrusted"),
    "named": (NAMED, [tlsa(2, 1, 1, CA)], "dane", "Verified"),
    "nexthop": (NEXT_HOP, [tlsa(2, 0, 1, CA)], "dane", "Verified"),
    "othername": (STRANGE, [tlsa(2, 1, 1, CA)], "4.7.5", "Untrusted"),
    "otherca": (NAMED, [tlsa(2, 1, 1, OTHER.certificate)], "4.7.5", "Untrusted"),
    "unusable": (OWN, [tlsa(1, 1, 1, OWN[0])], "none", "Untrusted"),
    "digest": (OWN, ["3 1 9 " + "ab" * 32], "none", "Untrusted"),
    "garbage": (OWN, ["3 0 0 abcdef"], "none", "Untrusted"),
    "unusableplain": (PLAIN, [tlsa(1, 1, 1, OWN[0])], "4.7.4", None),
    "plain": (PLAIN, [tlsa(3, 1, 1, OWN[0])], "4.7.4", None),
    "norecord": (OWN, [], "none", "Untrusted"),
    "norecordplain": (PLAIN, [], "clear", None),
}
HOSTS = {name: f"127.0.1.{number}" for number, name in enumerate(CASES, 1)}
ZONE = "".join(
    f"{name} MX 10 mx.{name}\nmx.{name} A {HOSTS[name]}\n" + "".join(f"_25._tcp.mx.{name} TLSA {record}\n" for record in records)
    for name, (_, records, _, _) in CASES.items())
# Aliases: the records of the name that it stands for come first, then its own (RFC 7672 §2.2.2).
ZONE += f"""
alias MX 10 mx.alias
mx.alias CNAME mx.ee
ownalias MX 10 mx.ownalias
mx.ownalias CNAME mx.norecord
_25._tcp.mx.ownalias TLSA {tlsa(3, 1, 1, OWN[0])}
wrongalias MX 10 mx.wrongalias
mx.wrongalias CNAME mx.mismatch
implicit A {HOSTS["ee"]}
_25._tcp.implicit TLSA {tlsa(3, 1, 1, OWN[0])}
backup MX 10 mx.mismatch
backup MX 20 mx.ee
secondbogus MX 10 mx.bogus
bogushost MX 10 mx.ok.bogushost
mx.ok.bogushost A {HOSTS["ee"]}
lie NS ns.lie
ns.lie A 127.0.0.1
bogustlsa MX 10 mx.bogustlsa
mx.bogustlsa A {HOSTS["ee"]}
_tcp.mx.bogustlsa NS ns._tcp.mx.bogustlsa
ns._tcp.mx.bogustlsa A 127.0.0.1
"""
ALIASES = {"alias": ("dane", "Verified"), "ownalias": ("dane", "Verified"), "wrongalias": ("4.7.5", "Untrusted"), "implicit": ("dane", "Verified"),
           "backup": ("dane", None), "bogustlsa": ("4.7.5", None)}
ZONES = {
    "dane.example.": ZONE, "_tcp.mx.bogustlsa.dane.example.": f"_25 TLSA {tlsa(3, 1, 1, OWN[0])}\n",
    # Not signed: its MX record leads to a host that is, and has a record of another certificate.
    "unsigned.example.": f"@ MX 10 mx.mismatch.dane.example.\nright MX 10 mx.ee.dane.example.\nall MX 10 mx.all\nmx.all A {HOSTS['ee']}\n_25._tcp.mx.all TLSA {tlsa(3, 1, 1, OWN[0], wrong=True)}\n",
}


class Unbound(Daemon):
    """The resolver that both ask: it validates from the key of dane.example on."""

    def __init__(self, names):
        home = pathlib.Path(subprocess.check_output(["mktemp", "-d", f"{SCRATCH}/unbound-XXXXXX"], text=True).strip())
        anchor = names.anchor("dane.example.")
        stubs = "".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{names.port}\n' for zone in ("dane.example.", "unsigned.example."))
        (home / "unbound.conf").write_text(
            f'server:\n  directory: "{home}"\n  chroot: ""\n  username: ""\n  pidfile: "{home}/pid"\n  interface: 127.0.0.1@53\n  do-not-query-localhost: no\n'
            f'  trust-anchor-file: "{anchor}"\n  use-syslog: no\n  logfile: "{home}/log"\n  do-daemonize: no\n  val-log-level: 2\n  module-config: "validator iterator"\n'
            f'  local-zone: "example." nodefault\n  domain-insecure: "unsigned.example."\n  num-threads: 1\nremote-control:\n  control-enable: no\n{stubs}')
        self.home = home

    def start(self):
        self.launch("unbound", "-d", "-c", self.home / "unbound.conf", errors=self.home / "errors")
        wait_for(lambda: self.is_running() and "ad;" in run("kdig", "@127.0.0.1", "+dnssec", "+timeout=1", "+retry=0", "ee.dane.example", "MX").out, 20,
                 "Unbound's validated answer")
        return self

    def log(self):
        return (self.home / "log").read_text()


class DeafResolver:
    """Passes questions on to Unbound and its answers back; those about TLSA records it does not hear. Over TCP it is not there."""

    TLSA = 52

    def __init__(self):
        self.questions = []  # about TLSA records: the names
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                question, asker = self.socket.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._answer, args=(question, asker), daemon=True).start()

    def _answer(self, question, asker):
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1:at + 1 + length].decode().lower())
            at += 1 + length
        if int.from_bytes(question[at + 1:at + 3], "big") == self.TLSA:
            return self.questions.append(".".join(labels))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream, contextlib.suppress(OSError):
            upstream.settimeout(5)
            upstream.sendto(question, ("127.0.0.1", 53))
            self.socket.sendto(upstream.recv(65536), asker)

    def close(self):
        self.socket.close()


class World:
    def __enter__(self):
        self.names = NameServer(ZONES, signed=["dane.example.", "_tcp.mx.bogustlsa.dane.example."], wrong=["_tcp.mx.bogustlsa.dane.example."]).start()
        self.unbound = Unbound(self.names).start()
        self.sinks = {name: Sink(host=HOSTS[name], port=25, certificate=None if certificate is PLAIN else certificate)
                      for name, (certificate, *_) in CASES.items()}
        return self

    def __exit__(self, *_):
        for sink in self.sinks.values():
            sink.close()
        self.unbound.stop()
        self.names.stop()

    def server(self, resolver="127.0.0.1:53", **keys):
        return Server(dns={"resolvers": [resolver], "dnssec": "always", "trust_anchor": self.names.anchor("dane.example.")},
                      tls={"outgoing": {"level": "dane"}}, **keys)

    def finger(self, domain):
        """posttls-finger's last word on a domain: Verified, Trusted, Untrusted; None: none."""
        resolv, configuration = SCRATCH / "resolv.conf", SCRATCH / "finger"
        resolv.write_text("nameserver 127.0.0.1\noptions edns0 trust-ad\n")
        configuration.mkdir(exist_ok=True)
        (configuration / "main.cf").write_text("compatibility_level = 3.6\nsmtp_dns_support_level = dnssec\nsmtp_host_lookup = dns\nmyhostname = mx.example.org\n")
        done = run("unshare", "-m", "sh", "-c", f"mount --bind {resolv} /etc/resolv.conf && MAIL_CONFIG={configuration} posttls-finger -c -t 10 -T 10 -l dane -L summary '{domain}'")
        found = re.findall(r"(Verified|Trusted|Untrusted|Anonymous) TLS connection established", done.out)
        return found[-1] if found else None, done.out


def outcome(server, domain):
    queue_id = server.send(message(f"to {domain}"), [f"someone@{domain}"], sender="alice@example.org")

    def first():
        for event in ("delivery.sent", "delivery.deferred", "delivery.bounced"):
            if found := server.events(event, queue_id=queue_id):
                return found[0]

    found = wait_for(first, 40, f"an outcome for {domain}")
    if found["event"] != "delivery.sent":
        server.valija("queue", "delete", queue_id)
        return found["dsn"], found
    return found.get("tls", {"verification": "clear"})["verification"], found


@test("mail goes as the TLSA records of a host have it", limit=120)
def _():
    with World() as world, world.server() as server:
        for name, (_, _, want, _) in CASES.items():
            got, found = outcome(server, f"{name}.dane.example")
            assert got == want, (name, got, want, found)
            sink = world.sinks[name]
            assert bool(sink.messages) == (not want[0].isdigit()), (name, found)
            if want != "clear":
                assert not any("MAIL" in line for line in sink.plain), (name, sink.plain)
            if want == "dane":
                assert sink.encrypted[-1][1] == f"mx.{name}.dane.example", sink.encrypted
        for name, (want, _) in ALIASES.items():
            got, found = outcome(server, f"{name}.dane.example")
            assert got == want, (name, got, want, found)
        assert world.sinks["ee"].encrypted[-1][1] == "mx.ee.dane.example", world.sinks["ee"].encrypted


@test("records prove nothing behind an MX record that is not signed, or in a zone that is not: TLS with whomever", limit=90)
def _():
    with World() as world, world.server() as server:
        for domain in ("unsigned.example", "right.unsigned.example", "all.unsigned.example"):
            got, found = outcome(server, domain)
            assert got == "none", (domain, found)
        # A route to the host itself needs no MX record.
        server.manifest_path.write_text(server.manifest_path.read_text() + 'routes: {unsigned.example: "[mx.mismatch.dane.example]", right.unsigned.example: "[mx.ee.dane.example]"}\n')
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        assert outcome(server, "unsigned.example")[0] == "4.7.5"
        assert outcome(server, "right.unsigned.example")[0] == "dane"


@test("a change of the records counts at once, and a connection that was made before it is not in the way", limit=90)
def _():
    with World() as world, world.server() as server:
        assert outcome(server, "norecord.dane.example")[0] == "none"
        # A connection is kept for more from the second message on.
        for _ in range(3):
            assert outcome(server, "ee.dane.example")[0] == "dane"
        assert world.sinks["ee"].connections == 2


@test("where nobody answers for the TLSA records the mail waits: it goes neither in clear nor in TLS with whomever", limit=120)
def _():
    with World() as world, contextlib.closing(DeafResolver()) as deaf, world.server(deaf.place) as server:
        # RFC 7672 §2.1.1: no answer is not the answer that there is none, whether or not the server has STARTTLS.
        for name in ("ee", "plain"):
            got, found = outcome(server, f"{name}.dane.example")
            assert got == "4.7.5" and f"TLSA records of host mx.{name}.dane.example" in found["reply"] and "could not be looked up" in found["reply"], found
            assert f"_25._tcp.mx.{name}.dane.example" in deaf.questions, deaf.questions
            assert not world.sinks[name].commands, world.sinks[name].commands
        # Where there are none, the record that says so of the host's other types says it of these as well (RFC 8198): nobody needs to ask.
        assert outcome(server, "norecord.dane.example")[0] == "none" and not any("norecord" in name for name in deaf.questions), deaf.questions
        # The same resolver is good enough where no record is asked for.
        assert outcome(server, "unsigned.example")[0] == "none"


@test("posttls-finger of Debian's Postfix comes to the same verdicts", limit=120)
def _():
    with World() as world:
        wants = {name: want for name, (_, _, _, want) in CASES.items()} | {name: want for name, (_, want) in ALIASES.items() if name != "backup"}
        verdicts = {name: world.finger(f"{name}.dane.example") for name in wants}
        others = {name: (got, wants[name], text) for name, (got, text) in verdicts.items() if got != wants[name]}
        assert not others, others
        # Behind an MX record that anybody could have forged it verifies nothing either.
        for domain in ("unsigned.example", "right.unsigned.example"):
            got, text = world.finger(domain)
            assert got != "Verified", (domain, text)
