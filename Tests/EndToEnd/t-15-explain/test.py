"""`tests:` in the manifest and `valija explain`: what they say is what the server does."""

import itertools
import json
import re

from kit import *

TRUSTED, STRANGER = "127.0.0.2", "127.0.0.1"

SITE = {
    "address_extension": "+",
    "domains": {
        "example.org": {},
        "customer.example": {"kind": "virtual", "addresses": {"info": ["alice", "bob"], "sales": "team@example.org", "away": "someone@elsewhere.example", "*": "carol"}},
        "strict.example": {"kind": "virtual", "addresses": {"one": "alice"}},
        "open.example": {"kind": "relay"},
    },
    "users": {"alice": {}, "bob": {}, "carol": {}, "dave": {"forward": ["bob"], "keep_copy": True}, "erin": {"forward": ["erin@elsewhere.example"]}},
    "aliases": {"postmaster": "root", "root": "alice", "team": ["alice", "bob", "dave", "office@branch.example"], "bob": ["bob", "alice"], "alice+list": "carol"},
    "networks": [f"{TRUSTED}/32"],
}

NAMES = ["alice", "Bob", "carol+x", "dave", "erin", "team", "root", "postmaster", "alice+list", "alice+x+y", "+alice", "info", "info+x", "away", "one", "office",
         "warehouse+y", "nobody", '"a b"', "bob%elsewhere.example"]
DOMAINS = ["example.org", "Customer.Example", "strict.example", "branch.example", "open.example", "elsewhere.example", "sub.example.org"]


def site(branch_port, relay_port, **keys):
    domains = dict(SITE["domains"], **{"branch.example": {"kind": "relay", "via": f"[127.0.0.1]:{branch_port}", "recipients": ["office", "Warehouse"]}})
    return dict(SITE, domains=domains, relayhost=f"[127.0.0.1]:{relay_port}", **keys)


def explain(server, *options):
    """(exit code, the JSON object) of `valija explain`."""
    done = server.valija("explain", "--json", *options)
    assert done.returncode in (0, 1), (options, done.returncode, done.out)
    answer = json.loads(done.out)
    assert answer["accepted"] == (done.returncode == 0) == (answer["code"] < 400), done.out
    return answer


def manifest(*tests, **keys):
    server = Server(start=False, tests=list(tests), **keys)
    return server


@test("what explain answers is what the server answers, word for word, to every kind of address and client", limit=240)
def _():
    wrong, refusals, accepted = [], {}, 0
    with Server(**site(9, 9)) as server:
        addresses = [f"{name}@{domain}" for name, domain in itertools.product(NAMES, DOMAINS)] + ["alice", "Postmaster", "alice@[127.0.0.1]"]
        # A few at a time: the server hangs up on a client that makes too many mistakes.
        batches = [addresses[start:start + 10] for start in range(0, len(addresses), 10)]
        for client, batch in itertools.product((STRANGER, TRUSTED), batches):
            with Dialogue(server.port, source=client) as dialogue:
                dialogue.expect("EHLO client.example.net", "250")
                dialogue.expect("MAIL FROM:<sender@example.net>", "250")
                for address in batch:
                    said = dialogue.ask(f"RCPT TO:<{address}>")
                    answer = explain(server, "--rcpt", address, "--client", client, "--from", "sender@example.net")
                    if answer["reply"] != said:
                        wrong.append(f"{client} {address}: the server says {said!r}, explain {answer['reply']!r}")
                    if answer["accepted"]:
                        accepted += 1
                    else:
                        refusals[client, answer["reply"]] = answer["rule"]
        # The line that decided is the one in the log.
        for (client, reply), rule in refusals.items():
            logged = [event["rule"] for event in server.events("message.rejected", reply=reply) if event["client"]["address"] == client]
            if logged != [rule]:
                wrong.append(f"{client} {reply}: the log has {logged}, explain {rule}")
    assert accepted >= 100 and len(refusals) >= 80, (accepted, len(refusals))
    assert not wrong, "\n".join(wrong)


@test("where explain says that mail ends is where it ends: mailboxes, the relay domain's host, the relayhost", limit=120)
def _():
    wrong = []
    with Sink() as branch, Sink() as relay, Server(**site(branch.port, relay.port)) as server:
        hosts = {f"[127.0.0.1]:{branch.port}": branch, f"[127.0.0.1]:{relay.port}": relay}
        recipients = ["alice@example.org", "alice+list@example.org", "Bob@example.org", "dave@example.org", "erin@example.org", "team+x@example.org",
                      "info@customer.example", "sales@customer.example", "away@customer.example", "any@customer.example", "Postmaster",
                      "postmaster@strict.example", "office+x@branch.example", "any@open.example", "x@elsewhere.example"]
        for number, recipient in enumerate(recipients):
            answer = explain(server, "--rcpt", recipient, "--client", TRUSTED)
            assert answer["accepted"] and answer["deliveries"], answer
            want = sorted((entry["to"], entry["place"].replace(str(server.mail), "MAIL")) for entry in answer["deliveries"])
            subject = f"number {number}"
            with Dialogue(server.port, source=TRUSTED) as dialogue:
                dialogue.envelope(recipient)
                dialogue.expect("DATA", "354")
                dialogue.write(message(subject) + b".\r\n")
                assert dialogue.reply().startswith("250"), recipient
            server.wait_queue_empty()
            got = [(user.name, f"MAIL/{user.name}/") for user in server.mail.iterdir() for letter in server.letters(user.name) if letter["Subject"] == subject]
            for place, host in hosts.items():
                got += [(to, place) for entry in host.messages if f"Subject: {subject}\r\n".encode() in entry[2] for to in entry[1]]
            if sorted(got) != want:
                wrong.append(f"{recipient}: it went to {sorted(got)}, and explain says {want}")
    assert not wrong, "\n".join(wrong)


@test("swaks and explain hear the same")
def _():
    with Server(**site(9, 9)) as server:
        for recipient in ("nobody@example.org", "x@elsewhere.example", "office@branch.example"):
            done = run("swaks", "--server", f"127.0.0.1:{server.port}", "--helo", "client.example.net", "--from", "you@example.net", "--to", recipient, "--quit-after", "RCPT")
            said = re.search(r"RCPT TO:.*\n<.. +(.*)$", done.out, re.M).group(1)
            assert said == explain(server, "--rcpt", recipient, "--from", "you@example.net")["reply"], done.out


@test("explain tells step by step, with the manifest line at the right, and ends with 0 or 1; the manifest may be given or found")
def _():
    server = Server(start=False, **site(9, 9))
    done = server.valija("explain", "--rcpt", "sales+x@customer.example")
    assert done.returncode == 0, done.out
    lines = done.out.splitlines()
    assert re.match(r"client +a stranger is in none of the networks +\[mail.yaml:\d+ networks\]$", lines[0]), done.out
    assert any(re.match(r" +team leads to alice, bob, dave, office@branch.example +\[mail.yaml:\d+ aliases.team\]$", line) for line in lines), done.out
    assert any(re.match(r"answer +RCPT: 250 2.1.5 Ok +\[mail.yaml:\d+ domains.customer.example.addresses.sales\]$", line) for line in lines), done.out
    given = run(BINARY, "explain", server.manifest_path, "--rcpt", "sales+x@customer.example")
    assert (given.returncode, given.out) == (0, done.out), given.out
    refused = server.valija("explain", "--rcpt", "x@elsewhere.example", "--client", "203.0.113.9")
    assert refused.returncode == 1 and "554 5.7.1 <x@elsewhere.example>: Relay access denied" in refused.out, refused.out
    assert re.search(r"^change +to allow it, add the client to networks \(mail.yaml:\d+ networks\) or let it log in", refused.out, re.M), refused.out


@test("a user who logs in may send as the addresses that lead to that user alone, and send_as, and nobody else")
def _():
    server = Server(start=False, **site(9, 9, users={"alice": {"send_as": ["team@example.org"]}, "bob": {}, "carol": {}, "dave": {"forward": ["bob"]}, "erin": {}}))
    cases = [("alice", "alice@example.org", 250), ("alice", "root+x@example.org", 250), ("alice", "team@example.org", 250), ("alice", "bob@example.org", 553),
             ("bob", "bob@example.org", 553), ("bob", "team@example.org", 553), ("carol", "any@customer.example", 250), ("carol", "info@customer.example", 553),
             ("dave", "dave@example.org", 250), ("dave", "x@elsewhere.example", 553), ("dave", "<>", 250)]
    for login, sender, code in cases:
        answer = explain(server, "--login", login, "--from", sender)
        assert answer["code"] == code and answer["command"] == "MAIL", (login, sender, answer)
        through = explain(server, "--login", login, "--from", sender, "--rcpt", "x@elsewhere.example")
        assert through["accepted"] == (code == 250), (login, sender, through)


@test("what explain cannot be asked: 64 for the command line, 78 for a manifest that is not valid")
def _():
    server = Server(start=False, **site(9, 9))
    for options in ([], ["--rcpt", "a b@c"], ["--rcpt", "alice", "--client", "nowhere"], ["--rcpt", "alice", "--login", "nobody"], ["--login", "alice"], ["--frm", "x"]):
        done = server.valija("explain", *options)
        assert done.returncode == 64, (options, done.returncode, done.out)
    server.manifest_path.write_text("apiVersion: valija/v1\n")
    done = server.valija("explain", "--rcpt", "alice")
    assert done.returncode == 78 and "not valid" in done.out, (done.returncode, done.out)


@test("check tries the tests of a manifest; one that fails shows what happens, the route, and the line that decides")
def _():
    good = [{"rcpt": "info@customer.example", "reaches": ["alice", "bob"]}, {"rcpt": "x@elsewhere.example", "refused": 554},
            {"client": TRUSTED, "rcpt": "x@elsewhere.example", "via": "[127.0.0.1]:9"}, {"rcpt": "erin@example.org", "reaches": "erin"},
            {"login": "bob", "from": "alice@example.org", "refused": "5.7.1"}]
    server = manifest(*good, **site(9, 9))
    done = run(BINARY, "check", server.manifest_path)
    assert done.returncode == 0, done.out
    server = manifest(*good, {"rcpt": "team@example.org", "reaches": ["alice", "bob"]}, **site(9, 9))
    done = run(BINARY, "check", server.manifest_path)
    assert done.returncode == 1, done.out
    [line] = re.findall(r"mail.yaml:(\d+):\d+: error: mail to team@example.org reaches alice, bob, dave, office@branch.example by \[127.0.0.1\]:9; "
                        r"expected: it reaches alice, bob \[failed-test\]$", done.out, re.M)
    assert '"team@example.org"' in server.manifest_path.read_text().splitlines()[int(line) - 1], done.out
    assert re.search(r"hint: the route: team leads to alice, bob, dave, office@branch.example \(mail.yaml:\d+\).*; decided by mail.yaml:\d+ aliases.team$",
                     done.out, re.M), done.out
    as_json = json.loads(run(BINARY, "check", "--format", "json", server.manifest_path).out)
    assert [finding["code"] for finding in as_json if finding["severity"] == "error"] == ["failed-test"], as_json
    # That is when an explanation is needed.
    assert server.valija("explain", "--rcpt", "team@example.org").returncode == 0


@test("serve does not start with a manifest whose tests fail, and says so in the log; nor does render write its files")
def _():
    server = manifest({"rcpt": "x@elsewhere.example", "reaches": "x@elsewhere.example"})
    server.spawn()
    assert server.process.wait(20) == 78, server.errors()
    assert "failed-test" in server.errors() and "Relay access denied" in server.errors(), server.errors()
    assert server.events("manifest.refused") and not server.events("listener.opened"), server.log()
    with Server(tests=[{"rcpt": "x@elsewhere.example", "refused": 554}]):
        pass
    rendered = run(BINARY, "render", server.manifest_path, "-o", SCRATCH / "out")
    assert rendered.returncode == 1 and "failed-test" in rendered.out and not (SCRATCH / "out").exists(), rendered.out


@test("each command of docs/testing-a-manifest.md prints what stands there, and ends as it says")
def _():
    text = (ROOT / "docs/testing-a-manifest.md").read_text()
    (SCRATCH / "examples").mkdir(exist_ok=True)
    company = (ROOT / "examples/company.yaml").read_text()
    (SCRATCH / "examples/company.yaml").write_text(company)
    # The page's failed test is one that a reader adds to the example.
    added = re.search(r"```yaml\n(  - .*\n)```", text).group(1)
    (SCRATCH / "mail.yaml").write_text(company + added)
    commands = [(command, output) for block in re.findall(r"```console\n(.*?)```", text, re.S)
                for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)]
    assert len(commands) >= 4, commands
    for command, want in commands:
        done = run("bash", "-c", command.replace("valija ", f"{BINARY} ", 1), cwd=SCRATCH)
        assert done.out == want, f"$ {command}\ngot\n{done.out}want\n{want}"
        assert done.returncode == (1 if "error:" in want or "Relay access denied" in want else 0), (command, done.returncode)


@test("the tests of the examples hold, and the design's full manifest passes its own")
def _():
    for path in sorted((ROOT / "examples").glob("*.yaml")) + [ROOT / "Tests/ManifestTests/planned/full.yaml"]:
        done = run(BINARY, "check", path)
        assert done.returncode == 0, done.out
    assert sum("\ntests:" in path.read_text() for path in (ROOT / "examples").glob("*.yaml")) >= 1
