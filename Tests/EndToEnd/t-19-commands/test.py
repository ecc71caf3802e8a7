"""The commands that administrators know, by their own names, beside Debian's on the same state."""

import os
import pathlib
import re
import subprocess

from kit import *
from kit.commands import apart, called_by_name, folder, happens, ours, shown_in_commands

HERE = pathlib.Path(__file__).parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

# Debian's programs want a main.cf, which a Postfix that was installed without a configuration does not have.
(SCRATCH / "postfix").mkdir()
(SCRATCH / "postfix/main.cf").write_text(f"compatibility_level = 3.6\nmyhostname = {os.uname().nodename}\n")
os.environ["MAIL_CONFIG"] = str(SCRATCH / "postfix")


MAP = """\
alice@example.org  bob, carol
# a comment
Second   x
   and more
"quoted key" y
twice 1
twice 2
broken
Straße s
"""

ALIASES = """\
one: a
two: "a b"@c.org, <x@y.org>, Foo Bar <q@z.org> (comment)
Three :   spaced ,  list ,x
"q n": "x\\"y"
pipe: "|/usr/bin/vacation root", |/bin/plain, "/var/x y", /var/z, :include:/l/ist
nine:
 cont1,
 cont2
broken line
a@b: no
one: again
"""


# postmap and postalias

@test("postmap: a table of ours is read by Debian's postmap, one of Debian's by ours, and both are the same")
def _():
    here = folder("maps", a=MAP, b=MAP)
    for (program, text) in (("postmap", MAP), ("postalias", ALIASES)):
        (here / "a").write_text(text)
        (here / "b").write_text(text)
        wrote = ours(program, "lmdb:a", cwd=here), apart(program, "lmdb:b", cwd=here)
        assert wrote[0][0] == wrote[1][0] == 0, wrote
        assert sorted(wrote[0][2].replace("a, line", "b, line").replace("lmdb:a", "lmdb:b").splitlines()) == sorted(wrote[1][2].splitlines()), wrote
        lists = {(who.__name__, table): who(program, "-s", f"lmdb:{table}", cwd=here) for who in (ours, apart) for table in "ab"}
        plain = {key: (code, re.sub(r"(YP_LAST_MODIFIED:\t)\d{10}\n", r"\1TIME\n", out)) for key, (code, out, _) in lists.items()}
        assert len(set(plain.values())) == 1 and plain["ours", "a"][1], plain


@test("postmap -q, -q -, -d, -i, -r, -f, -n: output and exit code are Debian's")
def _():
    here = folder("asked", a=MAP, b=MAP, t=MAP)
    steps = [
        (["lmdb:T"], None), (["-q", "ALICE@example.org", "lmdb:T"], None), (["-q", "nobody", "lmdb:T"], None), (["-q", "STRASSE", "lmdb:T"], None),
        (["-q", "-", "lmdb:T"], "Second\nnobody\nTWICE\n"), (["-q", "-", "lmdb:T"], "nobody\n"), (["-q", "twice", "texthash:t"], None),
        (["-q", "-", "texthash:t", "lmdb:T"], "second\nx\n"), (["-d", "twice", "lmdb:T"], None), (["-d", "twice", "lmdb:T"], None), (["-s", "lmdb:T"], None),
        (["-i", "lmdb:T"], "new 1\nsecond 2\n"), (["-ir", "lmdb:T"], "second 3\n"), (["-d", "-", "lmdb:T"], "new\nnobody\n"), (["-s", "lmdb:T"], None),
        (["-f", "lmdb:T"], None), (["-s", "lmdb:T"], None), (["-q", "Second", "lmdb:T"], None), (["-fq", "Second", "lmdb:T"], None),
        (["-n", "lmdb:T"], None), (["-Nq", "second", "lmdb:T"], None), (["-nq", "second", "lmdb:T"], None), (["-w", "lmdb:T"], None),
        (["-q", "x", "lmdb:missing"], None), (["-q", "x", "texthash:missing"], None), (["lmdb:missing"], None), (["-s", "-q", "x", "lmdb:T"], None),
        (["-d", "x", "texthash:t"], None),
    ]
    for arguments, given in steps:
        mine = ours("postmap", *[word.replace("T", "a") for word in arguments], cwd=here, input=given)
        theirs = apart("postmap", *[word.replace("T", "b") for word in arguments], cwd=here, input=given)
        errors = [sorted(set(error.replace("lmdb:a", "lmdb:b").replace("a, line", "b, line").splitlines())) for error in (mine[2], theirs[2])]
        assert mine[:2] == theirs[:2] and errors[0] == errors[1], f"{arguments}\nours   {mine}\nDebian {theirs}"


@test("postmap -s texthash: lists what Debian's does, in the order of the file")
def _():
    here = folder("text", t=MAP)
    mine, theirs = ours("postmap", "-s", "texthash:t", cwd=here), apart("postmap", "-s", "texthash:t", cwd=here)
    assert sorted(mine[1].splitlines()) == sorted(theirs[1].splitlines()) and mine[1].startswith("alice@example.org\t"), (mine, theirs)


@test("a table has the permissions of its source, and as root the owner's too")
def _():
    here = folder("modes", a="k v\n", b="k v\n")
    for name, program in (("a", ours), ("b", apart)):
        (here / name).chmod(0o640)
        if os.getuid() == 0:
            os.chown(here, 1, -1)
            os.chown(here / name, 1, 2)
        assert program("postmap", f"lmdb:{name}", cwd=here)[0] == 0
    found = [((here / f"{name}.lmdb").stat().st_mode, (here / f"{name}.lmdb").stat().st_uid, (here / f"{name}.lmdb").stat().st_gid) for name in "ab"]
    assert found[0] == found[1] and found[0][0] & 0o777 == 0o640, found


@test("hash: and a table without a type are refused with a word that names lmdb:; exit 1")
def _():
    here = folder("types", a="k v\n")
    for table in ("hash:a", "btree:a", "a"):
        code, out, errors = ours("postmap", table, cwd=here)
        assert code == 1 and not out and "lmdb:a" in errors and "Berkeley DB" in errors, (code, out, errors)
    assert "unsupported dictionary type: pcre" in ours("postmap", "-q", "x", "pcre:a", cwd=here)[2]
    assert sorted(path.name for path in here.iterdir()) == ["a"]


@test("postmap killed at any moment leaves the old table or the new one")
def _():
    here = folder("killed", a="".join(f"key{number} old\n" for number in range(20000)))
    assert ours("postmap", "lmdb:a", cwd=here)[0] == 0
    (here / "a").write_text("".join(f"key{number} new\n" for number in range(20000)))
    outcomes = set()
    for attempt in range(12):
        process = subprocess.Popen([SCRATCH / "bin" / "postmap", "lmdb:a"], cwd=here)
        try:
            process.wait(0.02 * attempt)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        code, out, _ = apart("postmap", "-s", "lmdb:a", cwd=here)
        values = [line.split("\t")[1] for line in out.splitlines()]
        assert code == 0 and len(values) == 20000 and len(set(values)) == 1, (attempt, len(values), set(values))
        outcomes.add(values[0])
    assert "old" in outcomes, outcomes


# postconf

# What the machine and the process decide: the interfaces' networks, and all that expands to them.
OF_THE_MACHINE = re.compile(r"^(process_id|mynetworks|proxy_read_maps|smtpd_client_event_limit_exceptions|smtpd_forbid_bare_newline_exclusions)\b")

REQUESTS = [
    ["-n"], ["-nx"], ["-nh"], ["-nf"], ["-nH"], [], ["-f"], ["-x"], ["-d"], ["-dx"], ["-h", "myhostname", "mydomain"], ["myhostname", "nope", "mydomain"], ["-d", "myhostname"],
    ["-x", "local_recipient_maps"], ["-M"], ["-Mf"], ["-Mx"], ["-F"], ["-Ff"], ["-P"], ["-Px"], ["-M", "smtp"], ["-M", "smtp", "nope"], ["-F", "*/unix/command"], ["-FH", "qmgr/unix"],
    ["-Fh", "qmgr/unix"], ["-P", "smtp/inet/nope"], ["-C", "user"], ["-C", "service"], ["-C", "builtin"], ["-o", "myhostname=x.example", "-x", "myorigin", "mydomain"], ["-Mh"],
    ["-Fn"], ["-C", "x"], ["-l"],
]


def compare(directory, request):
    mine = ours("postconf", "-c", directory, *request)
    theirs = apart("postconf", "-c", directory, *request)
    lines = [[line for line in out.splitlines() if not OF_THE_MACHINE.match(line)] for out in (mine[1], theirs[1])]
    if request == ["-l"]:
        lines[1].remove("flock")  # dot locks and fcntl(2) are what deliveries of ours use
    assert mine[0] == theirs[0] and lines[0] == lines[1], \
        f"{directory} {request} {mine[0]} {theirs[0]}\n" + "\n".join(f"{a!r} | {b!r}" for a, b in zip(*lines) if a != b) + f"\n{len(lines[0])} {len(lines[1])}"
    assert sorted(mine[2].splitlines()) == sorted(theirs[2].splitlines()), f"{directory} {request}\nours   {mine[2]}\nDebian {theirs[2]}"


@test("postconf -c DIR prints what Debian's postconf prints of every rendered directory", limit=300)
def _():
    for example in EXAMPLES:
        out = SCRATCH / f"rendered-{example.stem}"
        assert run(BINARY, "render", example, "-o", out).returncode == 0
        for request in REQUESTS:
            compare(out, request)


@test("postconf -c DIR reads a hand-made configuration as Debian's does, with its warnings")
def _():
    here = folder("handmade", **{"main.cf": """\
compatibility_level = 3.6
myhostname = mx.example.org
mynetworks = 192.0.2.0/24
mydestination = a.example,
    b.example
smtpd_recipient_restrictions = permit_mynetworks, $foo, check_client_access texthash:$config_directory/x, { check_sender_access inline:{ a=b c=d } }, reject_unauth_destination
foo = reject_unknown_sender_domain
dup = 1
dup = 2
unused_x = ${foo?{a}:{b}} $$x
smtpd_restriction_classes = strict
strict = reject_unverified_sender
""", "master.cf": """\
smtp inet n - y - - smtpd
  -o { smtpd_banner = hello there } -o syslog_name=postfix/$service_name
qmgr unix n - n 300 1 qmgr
smtp unix - - y - - smtp
list unix - n n - - pipe flags=FR user=list argv=/bin/list ${nexthop} {two words}
local unix - n n - - local
"""})
    for request in REQUESTS:
        compare(here, request)
    manifest = SCRATCH / "as-c"
    manifest.mkdir()
    (manifest / "mail.yaml").write_text(EXAMPLES[0].read_text())
    assert ours("postconf", "-c", manifest, "-n") == ours("postconf", "-c", manifest / "mail.yaml", "-n") and ours("postconf", "-c", manifest, "-h", "myhostname")[0] == 0
    assert ours("postconf", "-c", SCRATCH / "nowhere")[0] == apart("postconf", "-c", SCRATCH / "nowhere")[0] == 1


@test("postconf without -c shows what the manifest renders to")
def _():
    for example in EXAMPLES:
        out = SCRATCH / f"manifest-{example.stem}"
        assert run(BINARY, "render", example, "-o", out).returncode == 0
        code, got, errors = ours("postconf", "-n", env=dict(os.environ, VALIJA_MANIFEST=str(example)))
        want = [line for line in apart("postconf", "-c", out, "-n")[1].splitlines() if not line.startswith("config_directory =")]
        assert code == 0 and not errors and got.splitlines() == want, (got, want, errors)


@test("postconf edits nothing, and names the manifest's key")
def _():
    for arguments in (["-e", "message_size_limit=1"], ["message_size_limit=1"], ["-#", "message_size_limit"], ["-X", "message_size_limit"]):
        code, out, errors = ours("postconf", *arguments, env=dict(os.environ, VALIJA_MANIFEST=str(EXAMPLES[0])))
        assert code == 1 and not out and "limits.message_size" in errors and str(EXAMPLES[0]) in errors, (arguments, code, errors)


# postfix

def control(server, *arguments):
    return ours("postfix", *arguments, env=server.environment)


@test("postfix status, start, stop, abort, flush, reload, check: words and exit codes are Postfix's")
def _():
    server = Server(start=False)
    down = {"reload": "fatal: the Postfix mail system is not running", "status": "the Postfix mail system is not running", "stop": "fatal: the Postfix mail system is not running", "abort": "fatal: the Postfix mail system is not running"}
    for command, words in down.items():
        assert control(server, command) == (1, "", f"postfix/postfix-script: {words}\n"), control(server, command)
    assert control(server, "flush") == (69, "", "postqueue: fatal: Cannot flush mail queue - mail system is down\n")
    code, out, errors = control(server, "start")
    assert code == 1 and "valija serve" in errors, errors
    assert control(server, "check") == (0, "", "")
    assert control(server, "frobnicate")[0] == 1 and "unknown command: 'frobnicate'" in control(server, "frobnicate")[2]
    with server.start():
        assert control(server, "status") == (0, "", f"postfix/postfix-script: the Postfix mail system is running: PID: {server.process.pid}\n")
        assert control(server, "start") == (1, "", "postfix/postfix-script: fatal: the Postfix mail system is already running\n")
        assert control(server, "flush") == (0, "", "")
        code, out, errors = control(server, "reload")
        assert code == 0 and errors == "postfix/postfix-script: refreshing the Postfix mail system\n" and "is in force" in out, (code, out, errors)
        assert control(server, "stop") == (0, "", "postfix/postfix-script: stopping the Postfix mail system\n")
        assert server.process.wait(5) == 0 and server.events("service.stopped")
    assert control(server, "status")[0] == 1
    server.start()
    assert control(server, "abort") == (0, "", "postfix/postfix-script: aborting the Postfix mail system\n")
    server.process.wait(5)
    server.manifest_path.write_text("apiVersion: valija/v1\nhostnam: x\n")
    code, out, errors = control(server, "check")
    assert code == 1 and "unknown key" in errors, errors


@test("postfix start-fg serves in the foreground")
def _():
    server = Server(start=False)
    ours("postfix", "--help")
    process = subprocess.Popen([SCRATCH / "bin" / "postfix", "start-fg"], env=server.environment, cwd=server.directory, stdout=subprocess.PIPE)
    try:
        wait_for(lambda: control(server, "status")[0] == 0, what="the server to run")
        assert f"PID: {process.pid}\n" in control(server, "status")[2]
    finally:
        process.terminate()
        assert process.wait(10) == 0


@test("newaliases has the server load changed aliases; refused ones are printed, exit 78, and stay out of force; postconf shows what is in force")
def _():
    server = Server(start=False)
    text = server.manifest_path.read_text()
    broken = text.replace('"postmaster": "alice"', '"postmaster": "nobody"').replace("postmaster: \"alice\"", "postmaster: \"nobody\"")
    changed = text.replace("postmaster: \"alice\"", "postmaster: \"alice\"\n  info: \"bob\"").replace("hostname: \"mx.example.org\"", "hostname: \"mx2.example.org\"")
    assert broken != text and changed != text, text

    def newaliases(name="newaliases", *arguments):
        return ours(name, *arguments, env=server.environment)

    assert newaliases() == (0, "", "")
    server.manifest_path.write_text(broken)
    code, out, errors = newaliases()
    assert code == 78 and not out and "nobody" in errors, (code, out, errors)
    server.manifest_path.write_text(text)
    with server.start():
        assert newaliases() == (0, "", "")
        server.manifest_path.write_text(broken)
        code, out, errors = newaliases("sendmail", "-bi")
        assert code == 78 and not out and "nobody" in errors, (code, out, errors)
        assert control(server, "reload")[0] == 1 and control(server, "status")[0] == 0
        server.manifest_path.write_text(changed)
        assert ours("postconf", "-h", "myhostname", env=server.environment) == (0, "mx.example.org\n", "")
        assert newaliases() == (0, "", "")
        assert ours("postconf", "-h", "myhostname", env=server.environment) == (0, "mx2.example.org\n", "")
        server.send(message("to info"), ["info@example.org"])
        server.wait_mail("bob", 1)


# The document

@test("what docs/commands.md shows of postconf and postmap is what happens", limit=90)
def _():
    with Server(limits={"message_size": "20MB", "recipients_per_message": 100, "mailbox_size": "50MB"}) as server:
        here = folder("shown", virtual="sales@example.org alice@example.org\n", aliases="postmaster: alice\n")
        environment = called_by_name(server, "postconf", "postmap", "postalias")
        blocks = shown_in_commands("Parameters", "Tables")
        assert len(blocks) == 2, blocks
        for block in blocks:
            happens(block, here, environment)


@test("each command explains itself")
def _():
    for name in ("postmap", "postalias", "postconf", "postfix", "mail", "mailx"):
        code, out, errors = ours(name, "--help")
        assert code == 0 and out.startswith("usage:") and not errors, (name, out, errors)
