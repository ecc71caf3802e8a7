"""`valija dns`: what the DNS should hold for a manifest, and, with --check, what a real name server holds of it."""

import json
import subprocess

from kit import *
from kit.certificates import Authority, openssl
from kit.names import NameServer, own_network

own_network()

HERE = Authority(SCRATCH / "authority")
CERTIFICATE = HERE.issue("mx.example.org")
KEYS = {
    "domains": {"example.org": {}, "bücher.example": {"kind": "virtual", "addresses": {"*": "alice"}}, "branch.example": {"kind": "relay", "via": "[192.0.2.99]"}},
    "tls": {"level": "may", "certificate": CERTIFICATE[0], "key": CERTIFICATE[1]},
    "listen": {"smtp": ["192.0.2.25:25", "[2001:db8::25]:25", "10.0.0.1:25"], "submission": ["192.0.2.25:587"], "submissions": ["0.0.0.0:465"]},
}


def digest():
    """Of the certificate's public key, as openssl has it: what a record 3 1 1 holds."""
    key = run("openssl", "x509", "-in", CERTIFICATE[0], "-noout", "-pubkey").stdout
    der = run("openssl", "pkey", "-pubin", "-outform", "DER", input=key).stdout
    return run("openssl", "sha256", input=der).out.split("= ")[1].strip()


def wanted():
    lines = f"""
mx.example.org. A 192.0.2.25
mx.example.org. AAAA 2001:db8::25
25.2.0.192.in-addr.arpa. PTR mx.example.org.
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.example.org.
mx.example.org. TXT "v=spf1 a -all"
_25._tcp.mx.example.org. TLSA 3 1 1 {digest()}
example.org. MX 10 mx.example.org.
example.org. TXT "v=spf1 mx -all"
_submission._tcp.example.org. SRV 0 1 587 mx.example.org.
_submissions._tcp.example.org. SRV 0 1 465 mx.example.org.
xn--bcher-kva.example. MX 10 mx.example.org.
xn--bcher-kva.example. TXT "v=spf1 mx -all"
_submission._tcp.xn--bcher-kva.example. SRV 0 1 587 mx.example.org.
_submissions._tcp.xn--bcher-kva.example. SRV 0 1 465 mx.example.org.
branch.example. MX 10 mx.example.org."""
    return lines.strip().splitlines()


def dns(server, code, *options):
    # What `check` has to say of the manifest goes to standard error.
    done = subprocess.run([BINARY, "dns", *options, server.manifest_path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def records(text):
    return [line for line in text.splitlines() if not line.startswith(";")]


@test("the records of the domains, as lines of a zone file that Knot reads, and as JSON")
def _():
    server = Server(start=False, **KEYS)
    text = dns(server, 0)
    assert records(text) == wanted(), text
    assert "mail.yaml:" in text and "domains.example.org: mail to the domain comes here" in text, text
    with NameServer({".": text}) as names:
        for line in wanted():
            name, kind, data = line.split(" ", 2)
            said = run("kdig", "@127.0.0.1", "-p", names.port, "+short", name, kind).out.lower().replace(" ", "")
            assert data.lower().replace(" ", "") in said, (line, said)
    reply = json.loads(dns(server, 0, "--json"))
    assert [f"{entry['name']} {entry['type']} {entry['data']}" for entry in reply["records"]] == wanted(), reply
    assert all(entry["rule"] and entry["purpose"] for entry in reply["records"]) and reply["notes"] == [], reply


@test("addresses come from the command line where listen names none; a relayhost and a missing certificate are noted")
def _():
    server = Server(start=False, relayhost="[smtp.isp.example]:587", tls={"level": "may"})
    text = dns(server, 0)
    assert "mx.example.org. A" not in text and "needs A or AAAA records" in text, text
    assert 'example.org. TXT "v=spf1 mx ~all"' in text and "[smtp.isp.example]:587" in text and "no TLSA record for mx.example.org: cannot read" in text, text
    text = dns(server, 0, "--address", "203.0.113.1", "--address", "2001:db8::1")
    assert records(text)[:3] == ["mx.example.org. A 203.0.113.1", "mx.example.org. AAAA 2001:db8::1", "1.113.0.203.in-addr.arpa. PTR mx.example.org."], text
    dns(server, 64, "--address", "nowhere")
    server.start()
    server.stop()
    [own] = [line for line in records(dns(server, 0)) if "TLSA" in line]
    assert own.startswith("_25._tcp.mx.example.org. TLSA 3 1 1 "), own
    server.manifest_path.write_text("hostname: x\n")
    dns(server, 78)


ORG = """
mx A 192.0.2.25
mx AAAA 2001:db8::25
mx TXT "v=spf1 a -all"
@ MX 20 backup
@ MX 10 mx
@ TXT "google-site-verification=1"
@ TXT "v=spf1 ip4:192.0.2.77 +mx ~all"
_submission._tcp SRV 5 7 587 mx
_submissions._tcp SRV 0 1 465 mx
_25._tcp.mx TLSA 3 1 1 {digest}
_25._tcp.mx TLSA 2 0 1 {zeroes}
"""
REVERSE = "25.2.0.192.in-addr.arpa. PTR mx.example.org.\n"
BOOKS = "@ MX 10 mx.example.org.\n@ TXT \"v=spf1 mx -all\"\n_submission._tcp SRV 0 1 587 mx.example.org.\n_submissions._tcp SRV 0 1 465 mx.example.org.\n"
SIX = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.example.org.\n"


def zones(**changes):
    text = {"example.org.": ORG.format(digest=digest(), zeroes="00" * 32), "2.0.192.in-addr.arpa.": REVERSE, "8.b.d.0.1.0.0.2.ip6.arpa.": SIX,
            "xn--bcher-kva.example.": BOOKS, "branch.example.": "@ MX 10 mx.example.org."}
    for old, new in changes.pop("replace", []):
        assert any(old in zone for zone in text.values()), old
        text = {name: zone.replace(old, new) for name, zone in text.items()}
    return text


def checked(text, code, signed=("example.org.",), keys=KEYS):
    with NameServer(text, signed=list(signed)) as names:
        server = Server(start=False, dns=names.keys(*signed) if signed else {"resolvers": [names.resolver], "dnssec": "none"}, **keys)
        reply = json.loads(dns(server, code, "--check", "--json"))
        plain = dns(server, code, "--check")
    states = {f"{entry['name']} {entry['type']}": entry for entry in reply["records"]}
    for entry in reply["records"]:
        assert f"{entry['state']:8}{entry['name']} {entry['type']} {entry['data']}" in plain, (entry, plain)
    return states


@test("all is published, more beside it: exit 0")
def _():
    states = checked(zones(), 0)
    assert len(states) == len(wanted()) and all(entry["state"] == "ok" for entry in states.values()), states


@test("what is missing, another, or not secured is told apart: exit 1")
def _():
    def state(states, key):
        return states[key]["state"], states[key]["published"]

    states = checked(zones(replace=[("@ MX 10 mx\n", ""), ('"v=spf1 ip4:192.0.2.77 +mx ~all"', '"v=spf1 include:isp.example -all"'), ("5 7 587 mx", "5 7 2587 mx"),
                                    ("25.2.0.192.in-addr.arpa. PTR mx.example.org.", "25.2.0.192.in-addr.arpa. PTR dynamic.isp.example."), ("mx AAAA 2001:db8::25\n", ""),
                                    ('mx TXT "v=spf1 a -all"\n', ""), (digest(), "11" * 32)]), 1)
    assert state(states, "example.org. MX") == ("differs", ["20 backup.example.org."]), states
    assert state(states, "example.org. TXT") == ("differs", ['"v=spf1 include:isp.example -all"']), states
    assert state(states, "_submission._tcp.example.org. SRV") == ("differs", ["5 7 2587 mx.example.org."]), states
    assert state(states, "25.2.0.192.in-addr.arpa. PTR") == ("differs", ["dynamic.isp.example."]), states
    assert state(states, "mx.example.org. AAAA") == ("differs", ["192.0.2.25"]), states
    assert state(states, "mx.example.org. TXT") == ("missing", []), states
    assert states["_25._tcp.mx.example.org. TLSA"]["state"] == "differs", states
    assert state(states, "branch.example. MX")[0] == "ok", states
    two = checked(zones(replace=[('"google-site-verification=1"', '"v=spf1 mx -all"')]), 1)
    assert two["example.org. TXT"]["state"] == "differs" and "two policies" in two["example.org. TXT"]["reason"], two
    unsigned = checked(zones(), 1, signed=())
    assert unsigned["_25._tcp.mx.example.org. TLSA"]["state"] == "missing" and "DNSSEC" in unsigned["_25._tcp.mx.example.org. TLSA"]["reason"], unsigned


@test("where listen names no address, those that are published count, and have to lead back; what cannot be looked up is unknown: exit 75")
def _():
    keys = {**KEYS, "listen": {**KEYS["listen"], "smtp": ["0.0.0.0:25"]}}
    states = checked(zones(), 0, keys=keys)
    assert states["25.2.0.192.in-addr.arpa. PTR"]["state"] == "ok" and states["mx.example.org. AAAA"]["data"] == "2001:db8::25", states
    states = checked({**zones(), "branch.example.": None}, 75)
    assert states["branch.example. MX"]["state"] == "unknown" and "SERVFAIL" in states["branch.example. MX"]["reason"], states
