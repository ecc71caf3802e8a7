"""`valija render`: Postfix itself reads what comes out, and has nothing to say about it."""

import re

from kit import *

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def render(example):
    out = SCRATCH / example.stem
    done = run(BINARY, "render", example, "-o", out)
    assert done.returncode == 0, f"{example.name}: {done.returncode}\n{done.out}"
    for file in ("main.cf", "master.cf"):
        assert (out / file).exists(), f"{example.name}: no {file}"
    return out


def settings(directory):
    done = run("postconf", "-c", directory, "-n")
    assert done.returncode == 0 and "warning" not in done.out, done.out
    return dict(re.match(r"(\S+) =\s?(.*)", line).groups() for line in done.out.splitlines())


@test("postconf reads every rendered main.cf without a warning")
def _():
    for example in EXAMPLES:
        found = settings(render(example))
        assert found["myhostname"], example.name


@test("postconf reads every rendered master.cf without a warning")
def _():
    for example in EXAMPLES:
        done = run("postconf", "-c", render(example), "-M")
        assert done.returncode == 0 and "warning" not in done.out, done.out
        assert re.search(r"^\S*(smtp|25)\s+inet\s.* smtpd", done.out, re.M), done.out


@test("postfix check accepts every rendered directory")
def _():
    for example in EXAMPLES:
        out = render(example)
        done = run("postfix", "-c", out, "check")
        complaints = [line for line in done.out.splitlines() if str(out) in line or "fatal" in line or "unused parameter" in line]
        assert done.returncode == 0 and not complaints, done.out


@test("the rendered settings say what the manifest says")
def _():
    found = settings(render(ROOT / "examples/mydom.yaml"))
    assert found["myhostname"] == "mx.mydom.com", found
    assert found["myorigin"] == "mydom.com", found
    assert found["message_size_limit"] == "10240000", found
    assert found["mailbox_size_limit"] == "51200000", found
    assert found["relayhost"] == "[smtp.isp.example]:587", found
    assert "mydom.com" in found["mydestination"], found
    assert {"rrhh.mindns.es", "ventas.mindns.es"} <= set(re.split(r"[,\s]+", found["virtual_alias_domains"])), found
    assert "127.0.0.0/8" in found["mynetworks"], found


@test("rendering twice gives the same octets")
def _():
    example = ROOT / "examples/mydom.yaml"
    out = render(example)
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    render(example)
    assert before == {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}


@test("a manifest that is not valid is not rendered")
def _():
    broken = SCRATCH / "broken.yaml"
    broken.write_text("apiVersion: valija/v1\nhostnam: mx\n")
    done = run(BINARY, "render", broken, "-o", SCRATCH / "none")
    assert done.returncode == 1 and not (SCRATCH / "none" / "main.cf").exists(), done.out
