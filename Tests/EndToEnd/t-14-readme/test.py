"""What the README shows is what happens: its manifest, its message, the reply and the log line."""

import json
import re

from kit import *

README = (ROOT / "README.md").read_text()


def block(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


@test("the README's manifest serves, and its reply and log line come as they are printed there")
def _():
    server = Server(start=False, manifest="")
    text = block("yaml").replace("/tmp/valija/mail", str(server.mail)).replace("/tmp/valija/spool", str(server.spool))
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


@test("each file that the README points to exists")
def _():
    for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (ROOT / path).exists(), path


@test("each make target that the README and CONTRIBUTING name exists")
def _():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z]+)`", README + (ROOT / "CONTRIBUTING.md").read_text())) | set(re.findall(r"^\$ make ([a-z]+)", README, re.M))
    assert named and named <= targets, named - targets
