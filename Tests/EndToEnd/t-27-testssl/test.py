"""testssl.sh looks at the ports 25, 465 and 587, and finds nothing above "low"."""

import json
import subprocess

from kit import *
from kit.certificates import Authority

HERE = Authority(SCRATCH / "authority")
# What this test's certificate is bound to lack, signed by an authority of a minute's age: no revocation, no transparency log, no CAA.
OF_THE_TEST_CERTIFICATE = ("cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "DNS_CAArecord", "certificate_transparency", "cert_validityPeriod",
                           "cert_trust", "cert_chain_of_trust", "cert_expirationStatus", "cert_extlifeSpan")


def start(port, *options):
    """Its findings are in the file when it ends. The checks that send what a mail server has no use for, HTTP, are left out."""
    findings = SCRATCH / f"findings-{port}.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "one", "--nodns", "min", "--add-ca", str(HERE.certificate),
               "--openssl-timeout", "10", "--severity", "LOW", "--jsonfile", str(findings), *options, f"mx.example.org:{port}"]
    command[command.index("--ip") + 1] = "127.0.0.1"
    return findings, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@test("protocols, ciphers, server defaults and known weaknesses of all three ports have no finding above low", limit=400)
def _():
    ec, rsa = HERE.issue("mx.example.org", days=300), HERE.issue("mx.example.org", "rsa", days=300)
    submission, submissions = free_port(), free_port()
    with Server(tls={"level": "may", "certificate": [ec[0], rsa[0]], "key": [ec[1], rsa[1]]},
                listen={"submission": [f"127.0.0.1:{submission}"], "submissions": [f"127.0.0.1:{submissions}"]}) as server:
        checks = ["--protocols", "--std", "--server-defaults", "--server-preference", "--fs", "--vulnerable"]
        runs = [start(server.port, "-t", "smtp", *checks), start(submission, "-t", "smtp", *checks), start(submissions, *checks)]
        for findings, process in runs:
            out = process.communicate(timeout=360)[0].decode(errors="replace")
            assert findings.exists(), out[-3000:]
            found = json.loads(findings.read_text())
            bad = [f for f in found if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not f["id"].startswith(OF_THE_TEST_CERTIFICATE)]
            assert not bad, json.dumps(bad, indent=1)
            assert any(f["id"] == "scanTime" for f in found) or "Done" in out, out[-2000:]
