"""What the documents show is what happens: the README's manifest, message, reply and log line, and what others name."""

import json
import re

from kit import *

README = (ROOT / "README.md").read_text()


def block(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


@test("the README's manifest serves, and its reply and log line come as they are printed there")
def _():
    server = Server(start=False, manifest="")
    text = block("yaml").replace("./data/mail", str(server.mail)).replace("./data/spool", str(server.spool))
    text = text.replace("127.0.0.1:2525", f"127.0.0.1:{server.port}").replace("127.0.0.1:8080", f"127.0.0.1:{server.health_port}")
    server.manifest_path.write_text(text)
    with server.start():
        command = re.search(r"^\$ (swaks .*)$", README, re.M).group(1).replace("127.0.0.1:2525", f"127.0.0.1:{server.port}")
        done = run("bash", "-c", command)
        assert done.returncode == 0, done.out
        printed = re.search(r"^<-\s+(250 2\.0\.0 Ok: queued as )[0-9A-F]+$", README, re.M).group(1)
        queue_id = re.search(re.escape(printed) + r"([0-9A-F]+)", done.out).group(1)
        want = json.loads(next(line for line in README.splitlines() if line.startswith('{"time"') and '"message.accepted"' in line))
        got = server.wait_event("message.accepted", queue_id=queue_id)
        assert list(got) == list(want), f"fields\n got {list(got)}\nwant {list(want)}"
        for name in ("level", "service", "event", "from", "recipients"):
            assert got.get(name) == want.get(name), (name, got, want)
        wait_for(lambda: server.letters("alice"), what="alice's letter")


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
