"""`valija render`: Postfix itself reads what comes out, and has nothing to say about it."""

import os
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


# --check, and the secrets

SUBMISSION = """apiVersion: valija/v1
hostname: mx.example.org
origin: example.org
domains:
  example.org:
users:
  alice: {password: {file: HERE/alice}}
aliases: {postmaster: alice}
relayhost: {host: "[127.0.0.2]:587", username: valija, password: {env: RELAY_PASSWORD}}
tls: {level: may, certificate: HERE/chain.pem, key: HERE/key.pem}
listen: {submission: ["127.0.0.1:1587"]}
"""


def submission(name):
    here = SCRATCH / name
    here.mkdir()
    (here / "mail.yaml").write_text(SUBMISSION.replace("HERE", str(here)))
    (here / "alice").write_text("$6$salt$hash-of-alice\nnot this line\n")
    return here


def valija(here, *arguments, **environment):
    return run(BINARY, "render", "mail.yaml", *arguments, cwd=here, env={**os.environ, **environment})


@test("a secret goes into its own file with mode 0600, whatever the umask, and never to the terminal")
def _():
    here = submission("secrets")
    for options, extra in (([], {}), (["--maps", "lmdb"], {}), (["--accounts", "virtual"], {})):
        done = valija(here, "-o", "out", *options, RELAY_PASSWORD="a secret: really")
        assert done.returncode == 0 and "really" not in done.out and "$6$" not in done.out, done.out
        files = {file.name: file for file in (here / "out").iterdir()}
        assert "valija:a secret: really" in files["sasl_passwd"].read_text()
        assert "alice:{CRYPT}$6$salt$hash-of-alice::::::\n" in files["dovecot-users"].read_text()
        assert {name for name in files if files[name].stat().st_mode & 0o77 == 0} == {"sasl_passwd", "dovecot-users"}, files
        for name, file in files.items():
            assert ("really" in file.read_text()) == (name == "sasl_passwd"), name
    done = valija(here, "-o", "-", RELAY_PASSWORD="a secret: really")
    assert done.returncode == 0 and "really" not in done.out and "$6$" not in done.out and "(secret; mode 600)" in done.out, done.out


@test("a secret that cannot be read leaves a comment, is said, and ends with 66")
def _():
    here = submission("unreadable")
    (here / "alice").unlink()
    done = valija(here, "-o", "out")
    assert done.returncode == 66, (done.returncode, done.out)
    assert "mail.yaml:7:21: warning: users.alice.password: file " in done.out and "No such file or directory" in done.out, done.out
    assert "relayhost.password: environment variable RELAY_PASSWORD is not set; its line is left blank" in done.out, done.out
    assert "\n# [127.0.0.2]:587\tvalija:PASSWORD\n" in (here / "out/sasl_passwd").read_text()
    (here / "alice").symlink_to("/dev/zero")
    done = valija(here, "-o", "out")
    assert done.returncode == 66 and "more than 4096 octets" in done.out, done.out


@test("--check is silent about a fresh directory, shows what differs, and changes nothing")
def _():
    here = submission("check")
    done = valija(here, "--check", "out")
    assert done.returncode == 1 and "+++ out/main.cf" in done.out and "out/sasl_passwd: missing" in done.out, done.out
    assert not (here / "out").exists()
    assert valija(here, "-o", "out", RELAY_PASSWORD="first-secret").returncode == 0
    done = valija(here, "--check", "out", RELAY_PASSWORD="first-secret")
    assert done.returncode == 0 and "out: up to date" in done.out, done.out
    done = valija(here, "--check", "out", RELAY_PASSWORD="other-secret")
    assert done.returncode == 1 and "out/sasl_passwd: differs" in done.out and "-secret" not in done.out, done.out
    done = valija(here, "--check", "out")  # as in CI, where no secret is
    assert done.returncode == 0 and "out/sasl_passwd: not compared" in done.out, done.out

    manifest = here / "mail.yaml"
    manifest.write_text(manifest.read_text().replace("origin: example.org", "origin: example.net"))
    before = {file.name: file.read_bytes() for file in (here / "out").iterdir()}
    done = valija(here, "--check", "out")
    assert done.returncode == 1 and "\n-myorigin = example.org\n+myorigin = example.net\n" in done.out, done.out
    assert before == {file.name: file.read_bytes() for file in (here / "out").iterdir()}
    assert valija(here, "--check", "out", "--accounts", "virtual").returncode == 1
    assert valija(here, "-o", "out").returncode == 66
    assert valija(here, "--check", "out").returncode == 0
    assert valija(here, "--check", "out", "-o", "out").returncode == 64
    assert valija(here).returncode == 64


@test("patch makes the stale file of --check's diff what would be rendered")
def _():
    here = submission("patch")
    valija(here, "-o", "old")
    manifest = here / "mail.yaml"
    manifest.write_text(manifest.read_text().replace("  alice:", "  bob:\n  alice:").replace("origin: example.org\n", ""))
    valija(here, "-o", "new")
    done = valija(here, "--check", "old")
    diff = "".join(line + "\n" for line in done.out.split("\n") if line[:1] in tuple("-+@ "))
    done = run("patch", "-p1", "--quiet", "--directory=old", input=diff, cwd=here)
    assert done.returncode == 0, f"{done.out}\n{diff}"
    for file in (here / "new").iterdir():
        assert file.read_bytes() == (here / "old" / file.name).read_bytes(), file.name
