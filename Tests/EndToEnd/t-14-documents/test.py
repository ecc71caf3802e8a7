"""What the documents show is what happens: the README's manifest, message, reply and log line, and what others name."""

import json
import re

from kit import *

README = (ROOT / "README.md").read_text()


def block(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


class Ports:
    """Those that documents name, and in their places ones that are free here."""

    def __init__(self, server):
        self.free = {"2525": server.port, "2587": free_port(), "8080": server.health_port}

    def in_place(self, text):
        return re.sub(r"127\.0\.0\.1:(2525|2587|8080)", lambda m: f"127.0.0.1:{self.free[m.group(1)]}", text)


@test("the README's manifest serves, and its reply and log line come as they are printed there")
def _():
    server = Server(start=False, manifest="")
    text = block("yaml").replace("./data/mail", str(server.mail)).replace("./data/spool", str(server.spool))
    ports = Ports(server)
    server.manifest_path.write_text(ports.in_place(text))
    with server.start():
        commands = re.findall(r"^\$ (swaks .*)$", README, re.M)
        done = run("bash", "-c", ports.in_place(commands[0]))
        assert done.returncode == 0, done.out
        printed = re.search(r"^<~\s+(250 2\.0\.0 Ok: queued as )[0-9A-F]+$", README, re.M).group(1)
        queue_id = re.search(re.escape(printed) + r"([0-9A-F]+)", done.out).group(1)
        want = json.loads(next(line for line in README.splitlines() if line.startswith('{"time"') and '"message.accepted"' in line))
        got = server.wait_event("message.accepted", queue_id=queue_id)
        assert list(got) == list(want), f"fields\n got {list(got)}\nwant {list(want)}"
        for name in ("level", "service", "event", "from", "recipients", "tls"):
            assert got.get(name) == want.get(name), (name, got, want)
        wait_for(lambda: server.letters("alice"), what="alice's letter")
        for command in commands[1:]:
            done = run("bash", "-c", ports.in_place(command))
            assert done.returncode == 0, done.out
        assert server.wait_event("message.accepted", service="submission", user="alice")["tls"]


@test("the quickstart serves, and the commands that `make run` prints do what they are there for")
def _():
    script = (ROOT / "scripts/quickstart").read_text()
    commands = re.findall(r"^  ((?:swaks|cat|curl|VALIJA_MANIFEST=).*)$", script, re.M)
    assert [command.split()[0].partition("=")[0] for command in commands] == ["swaks", "swaks", "cat", "curl", "VALIJA_MANIFEST"], commands
    server = Server(start=False, manifest="")
    ports = Ports(server)
    server.manifest_path.write_text(ports.in_place((ROOT / "examples/quickstart.yaml").read_text()))
    server.mail, server.spool = server.directory / "data/mail", server.directory / "data/spool"
    with server.start():
        made = server.wait_event("certificate.loaded")
        assert made["reason"].startswith("self-signed") and made["address"].endswith("data/spool/tls/self-signed.pem"), made
        for number, command in enumerate(commands):
            command = ports.in_place(command).replace("$1", BINARY).replace("examples/quickstart.yaml", str(server.manifest_path))
            done = run("bash", "-c", command, cwd=server.directory)
            assert done.returncode == 0, f"{command}: {done.out}"
            if number == 1:  # to sales, which are alice and bob, and to bob
                wait_for(lambda: len(server.letters("bob")) == 2 and server.letters("alice"), what="both letters")
                taken = [event["service"] for event in server.events("message.accepted") if event["tls"]["version"] == "TLSv1.3"]
                assert taken == ["smtpd", "submission"], taken


@test("the README's typing error is shown as it is printed there")
def _():
    (SCRATCH / "mail.yaml").write_text(block("yaml").replace("postmaster: alice", "postmaster: alcie"))
    done = run(BINARY, "check", "mail.yaml", cwd=SCRATCH)
    assert done.returncode == 1 and done.out == block("text"), f"got\n{done.out}want\n{block('text')}"


@test("each file that the README points to exists")
def _():
    for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (ROOT / path).exists(), path


@test("each make target that the README and CONTRIBUTING name exists")
def _():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z]+)`", README + (ROOT / "CONTRIBUTING.md").read_text())) | set(re.findall(r"^\$ make ([a-z]+)", README, re.M))
    assert named and named <= targets, named - targets


@test("operations.md lists the events as the sources declare them")
def _():
    source = (ROOT / "Sources/Telemetry/Event.swift").read_text()
    names = dict(re.findall(r'case (\w+) = "([\w.]+)"', source))
    meanings = dict(re.findall(r'case \.(\w+): "(.*?)"$', source, re.M))
    want = [f"{names[case]}: {meanings[case]}" for case in names]
    table = (ROOT / "docs/operations.md").read_text().split("<!-- events -->")[1].split("<!-- end of events -->")[0]
    got = [f"{name}: {meaning}" for name, _, meaning in re.findall(r"^\| `([\w.]+)` \| (\w+) \| (.*) \|$", table, re.M)]
    assert got == want, f"got {got}\nwant {want}"


@test("the manifest in deploy/kubernetes.yaml is valid")
def _():
    text = re.search(r"  mail\.yaml: \|\n((?:    .*\n)+)", (ROOT / "deploy/kubernetes.yaml").read_text()).group(1)
    path = SCRATCH / "mail.yaml"
    path.write_text(re.sub(r"^    ", "", text, flags=re.M))
    done = run(BINARY, "check", path)
    assert done.returncode == 0, done.out
