"""`valija render`: Postfix itself reads what comes out, and has nothing to say about it."""

import pathlib
import re

from kit import *

MYDOM = pathlib.Path(__file__).parent / "mydom.yaml"
EXAMPLES = [*sorted((ROOT / "examples").glob("*.yaml")), MYDOM]


def render(example, *options):
    out = SCRATCH / "-".join([example.stem, *options])
    done = run(BINARY, "render", example, "-o", out, *options)
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


@test("postmap finds a user in the tables of each type, and make has nothing to say")
def _():
    for maps in ("texthash", "lmdb", "hash"):
        out = render(MYDOM, "--accounts", "virtual", "--maps", maps)
        settings(out)
        if maps != "texthash":
            done = run("make", "--silent", "-C", out)
            assert done.returncode == 0 and not done.out, done.out
        done = run("postmap", "-c", out, "-q", "aca@mydom.com", f"{maps}:{out}/virtual_mailboxes")
        assert done.out.strip() in ("aca", "aca/"), done.out


@test("systemd takes the accounts and directories of the users")
def _():
    manifest = SCRATCH / "accounts.yaml"
    manifest.write_text("""apiVersion: valija/v1
hostname: mx.example.org
domains: {example.org: }
users: {alice: {name: 'Alice "A" Example: 100%'}, Bob: }
mailboxes: {directory: /srv/mail/of us}
""")
    out, root = render(manifest), SCRATCH / "root"
    (root / "srv/mail/of us").mkdir(parents=True)
    (root / "etc").mkdir()
    for command in (["systemd-sysusers", f"--root={root}", out / "sysusers.conf"],
                    ["systemd-tmpfiles", "--create", f"--root={root}", out / "tmpfiles.conf"]):
        done = run(*command)
        assert done.returncode == 0, done.out
    accounts = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    assert [(a[0], a[4]) for a in accounts if a[0] in ("alice", "bob")] == [("alice", 'Alice "A" Example  100%'), ("bob", "")], accounts
    assert {d.name: d.stat().st_mode & 0o777 for d in (root / "srv/mail/of us").iterdir()} == {"alice": 0o700, "bob": 0o700}


@test("an owner that is root or no number is refused")
def _():
    for owner in ("0:0", "1000", "1000:", "mail:mail", "-1:5", "1:2:3"):
        done = run(BINARY, "render", MYDOM, "-o", SCRATCH / "owned", f"--owner={owner}")
        assert done.returncode == 64 and not (SCRATCH / "owned").exists(), (owner, done.out)


@test("the rendered settings say what the manifest says")
def _():
    found = settings(render(MYDOM))
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
    example = MYDOM
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
