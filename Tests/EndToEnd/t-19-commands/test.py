"""The commands that administrators know, by their own names, beside Debian's on the same state."""

import os
import pathlib
import re
import subprocess

from kit import *

HERE = pathlib.Path(__file__).parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def ours(name, *arguments, **options):
    """Valija by one of its other names."""
    link = SCRATCH / "bin" / name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(BINARY)
    return apart(link, *arguments, **options)


def apart(*command, input=None, **options):
    """A command's exit code, output and standard error, as text."""
    options.setdefault("cwd", SCRATCH)
    done = subprocess.run([str(word) for word in command], input=input.encode() if isinstance(input, str) else input or b"",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "surrogateescape")


def folder(name, **files):
    directory = SCRATCH / name
    directory.mkdir()
    for file, text in files.items():
        (directory / file).write_text(text)
        # Postfix reads a file that is seconds old again and again, and says its warnings each time.
        os.utime(directory / file, (1600000000, 1600000000))
    return directory


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
