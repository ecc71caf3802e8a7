"""The commands that administrators know, by their own names, beside Debian's on the same state."""

import os
import pathlib
import re
import subprocess

from kit import *

HERE = pathlib.Path(__file__).parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

# Debian's programs want a main.cf, which a Postfix that was installed without a configuration does not have.
(SCRATCH / "postfix").mkdir()
(SCRATCH / "postfix/main.cf").write_text(f"compatibility_level = 3.6\nmyhostname = {os.uname().nodename}\n")
os.environ["MAIL_CONFIG"] = str(SCRATCH / "postfix")


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


# mail: sending

@test("mail -s sends what comes from a pipe: subject, copies, fields, sender", limit=90)
def _():
    with Server() as server:
        def send(*arguments, text="hello\n.\nafter the dot\n"):
            return ours("mail", *arguments, input=text, env=server.environment)

        done = send("-s", "a subject", "-c", "bob@example.org", "-b", "carol@example.org", "-a", "X-Loop: yes", "-r", "alice@example.org", "alice@example.org")
        assert done == (0, "", ""), done
        for user in ("alice", "bob", "carol"):
            [letter] = server.wait_mail(user, 1)
            assert letter["Subject"] == "a subject" and letter["X-Loop"] == "yes" and letter["To"] == "alice@example.org" and letter["Cc"] == "bob@example.org", letter.fields
            assert not letter.all("Bcc") and letter["Return-Path"] == "<alice@example.org>" and "alice@example.org" in letter["From"], letter.fields
            assert letter.body == b"hello\n.\nafter the dot\n", letter.body
        # Options behind the address, and text that is not ASCII.
        assert send("bob", "-s", "Grüße", "-r", "alice", text="schöne Grüße\n") == (0, "", "")
        letter = server.wait_mail("bob", 2)[1]
        assert letter["Subject"] == "=?UTF-8?B?R3LDvMOfZQ==?=" and letter["Content-Type"] == "text/plain; charset=UTF-8" and letter["Content-Transfer-Encoding"] == "8bit", letter.fields
        assert letter.body.decode() == "schöne Grüße\n"
        # Nothing to say.
        assert send("-E", "-s", "nothing", "bob", text="") == (0, "", "")
        code, out, errors = send("-s", "nothing", "-r", "alice", "bob", text="")
        assert code == 0 and errors == "Null message body; hope that's ok\n", errors
        assert len(server.wait_mail("bob", 3)) == 3
        assert send("-s", "x", "-r", "alice", "nobody")[0] == 67
        assert send("-s", "x")[0] == 1
        # A line end in a subject begins no field.
        assert send("-s", "one\nX-Evil: two", "-r", "alice", "bob")[0] == 0
        assert not server.wait_mail("bob", 4)[3].all("X-Evil")


# mail: reading

def box(*, count=5, path="box"):
    text = ""
    for number in range(1, count + 1):
        status = {2: "Status: O\n", 3: "Status: RO\n"}.get(number, "")
        subject = "a very long subject that goes on and on and on and on beyond eighty columns surely" if number == 4 else f"letter {number}"
        text += (f"From sender{number}@example.net  Tue Nov 24 13:{number % 60:02}:09 2026\nReturn-Path: <sender{number}@example.net>\nX-Original-To: alice@example.org\n"
                 f"Delivered-To: alice@example.org\nReceived: from x\n\tby y\nFrom: Sender {number} <sender{number}@example.net>\nTo: alice@example.org\nSubject: {subject}\n"
                 f"Message-ID: <{number}@x>\nDate: Tue, 24 Nov 2026 14:00:00 +0100\n{status}\nline one of {number}\n>From quoted\n\nFromage\n\n")
    return text


SCRIPTS = ["h\np 1\nd 2\nh\nq\n", "n\nn\nq\n", "d 1-2\nu 2\nf 1 2\n=\nq\n", "p 9\nfoo\nd *\np\nq\n", "dp\nh\nx\n", "f :n\nf sender2\nf /letter\nf $\nf ^\nsize *\ntop 1\nq\n",
           "d 1\nd 1\np 1\nq\n", "5\n-\n-\nq\n", "n 3\nt 4 5\ntype 2\nprint $\nq\n", "", "z\nz-\nq\n", "h 3\nq\n", "x\n", "\n\n\n", "d 4\nq\n", "d 3\n", "unread 3\nq\n", "p 3\nx\n",
           "f 99\nf nobody\nf /nothing\nf :d\nx\n", "n 5\nn\nn\nx\n", "d\nd\nd\nd\nd\nd\nh\nq\n", "p +\np -\np ^\np $\nx\n", "f 1-3 5\nf *\nx\n", "hold 1\nq\n", "d 2\n\nx\n",
           "size\nfile\nx\n", "=\nd 5\n=\nd *\n=\nq\n", "c 2 saved\nc 4-5 saved\nw 3 text\nx\n"]


@test("mail -f reads an mbox by script as Debian's bsd-mailx does, and leaves the same file", limit=120)
def _():
    for count in (5, 45):
        for script in SCRIPTS:
            found = []
            for who, program in ((ours, "mail"), (apart, "bsd-mailx")):
                here = SCRATCH / f"mbox-{program}"
                here.mkdir(exist_ok=True)
                for old in here.iterdir():
                    old.unlink()
                (here / "box").write_text(box(count=count))
                code, out, errors = who(program, "-f", "box", input=script, cwd=here, env=dict(os.environ, HOME=str(here)))
                files = {file.name: re.sub("(?m)^Status: R\n", "", file.read_text()) for file in sorted(here.iterdir()) if file.name != "box"}
                found.append((code, out.splitlines()[1:], errors, (here / "box").read_text(), files))
            # A saved message is the one that lies in the mailbox; BSD's adds a Status to it.
            found[0][4].update({name: text.replace("Status: RO\n", "").replace("Status: O\n", "") for name, text in found[0][4].items()})
            found[1][4].update({name: text.replace("Status: RO\n", "").replace("Status: O\n", "") for name, text in found[1][4].items()})
            for mine, theirs in zip(*found):
                assert mine == theirs, f"{count} {script!r}\nours   {mine}\nDebian {theirs}"


@test("s-nail finds the same messages, and reads what our mail left")
def _():
    here = folder("snail", box=box())
    environment = dict(os.environ, HOME=str(here))
    lists = [who(program, *options, "-H", "-f", "box", cwd=here, env=environment)[1].splitlines() for who, program, options in ((ours, "mail", []), (apart, "s-nail", ["-n"]))]
    assert [re.findall(r"(\d+)/(\d+) ", line) for line in lists[0]] == [re.findall(r"(\d+)/(\d+) ", line) for line in lists[1]], lists
    assert ours("mail", "-f", "box", input="d 1 5\np 4\nq\n", cwd=here)[0] == 0
    left = apart("s-nail", "-n", "-H", "-f", "box", cwd=here, env=environment)[1].splitlines()
    assert [re.search(r"letter \d|a very long", line).group() for line in left] == ["letter 2", "letter 3", "a very long"], left


@test("mail -e and -H answer by exit code and list, and change nothing")
def _():
    here = folder("asking", box=box(), empty="")
    before = (here / "box").read_bytes()
    assert ours("mail", "-e", "-f", "box", cwd=here) == (0, "", "")
    assert ours("mail", "-e", "-f", "empty", cwd=here) == (1, "", "")
    assert ours("mail", "-e", "-f", "none", cwd=here)[0] == 1
    code, out, _ = ours("mail", "-H", "-f", "box", cwd=here)
    assert code == 0 and len(out.splitlines()) == 5 and (here / "box").read_bytes() == before, out


@test("mail -u reads a user's mailbox, mbox or Maildir: deleted mail is gone, read mail stays and is marked, saved mail moves", limit=120)
def _():
    for form in ("mbox", "maildir"):
        with Server(mailboxes={"format": form}) as server:
            def mail(*arguments, script=""):
                return ours("mail", *arguments, input=script, env=server.environment, cwd=server.directory)

            assert mail("-u", "alice") == (1, "", "No mail for alice\n") and mail("-e", "-u", "alice") == (1, "", "")
            for number in range(1, 6):
                server.send(message(f"letter {number}", f"text {number}\r\n"), ["alice@example.org"])
                server.wait_queue_empty()
            server.wait_mail("alice", 5)
            code, out, errors = mail("-u", "alice", script="d 2\np 3\ns 4 saved\nq\n")
            assert code == 0 and not errors and "text 3" in out and out.endswith(f"Held 3 messages in {server.mail / 'alice'}\n"), (form, out, errors)
            assert sorted(letter["Subject"] for letter in server.letters("alice")) == ["letter 1", "letter 3", "letter 5"]
            saved = (server.directory / "saved").read_text()
            assert saved.count("\nSubject: letter 4\n") == 1 and saved.startswith("From sender@example.net  "), saved
            listed = mail("-H", "-u", "alice")[1]
            assert re.findall(r"^[> ](.)\s+\d", listed, re.M) == ["U", " ", "U"], listed
            # What arrives is new, and the server and mail get on.
            server.send(message("letter 6"), ["alice@example.org"])
            server.wait_mail("alice", 4)
            assert mail("-u", "alice", script="d *\nx\n")[0] == 0 and len(server.letters("alice")) == 4
            code, out, _ = mail("-u", "alice", script="d *\nq\n")
            assert code == 0 and not server.letters("alice"), out


@test("mail that arrives while one reads and deletes is not lost, in either format", limit=120)
def _():
    for form in ("mbox", "maildir"):
        with Server(mailboxes={"format": form}) as server:
            server.send(message("first"), ["alice@example.org"])
            server.wait_mail("alice", 1)
            ours("mail", "--help")
            reader = subprocess.Popen([SCRATCH / "bin" / "mail", "-u", "alice"], env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            wait_for(lambda: "first" in reader.stdout.readline(), what="the list")
            for number in range(20):
                server.send(message(f"meanwhile {number}"), ["alice@example.org"])
            server.wait_queue_empty()
            reader.communicate("d *\nq\n", timeout=20)
            assert reader.returncode == 0
            assert sorted(letter["Subject"] for letter in server.letters("alice")) == sorted(f"meanwhile {number}" for number in range(20))


@test("mail killed at any moment while it writes leaves every message that was not deleted, and delivery goes on", limit=120)
def _():
    with Server(mailboxes={"format": "mbox"}) as server:
        path = server.mail / "alice"
        ours("mail", "--help")
        big = "".join(box(count=9).replace("Fromage\n", "x" * 70 + "\n" + ("y" * 70 + "\n") * 2000) for _ in range(10))
        states = set()
        for attempt in range(15):
            path.write_text(big)
            reader = subprocess.Popen([SCRATCH / "bin" / "mail", "-N", "-f", path], env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            try:
                reader.communicate("d 1\nq\n", timeout=0.05 * attempt + 0.01)
            except subprocess.TimeoutExpired:
                reader.kill()
                reader.wait()
            letters = server.letters("alice")
            assert len(letters) in (89, 90), (attempt, len(letters))
            states.add(len(letters))
            assert len(path.read_bytes()) > len(big) * 0.98
        assert 90 in states, states
        server.send(message("after"), ["alice@example.org"])
        wait_for(lambda: server.letters("alice")[-1]["Subject"] == "after", what="the next delivery")


# The document

@test("what docs/commands.md shows of postconf, postmap and mail is what happens", limit=90)
def _():
    sections = (ROOT / "docs/commands.md").read_text().split("\n## ")
    shown = [block for section in sections if section.startswith(("Parameters", "Tables", "Mail:")) for block in re.findall(r"```console\n(.*?)```", section, re.S)]
    assert len(shown) == 4, shown
    with Server(limits={"message_size": "20MB", "recipients_per_message": 100, "mailbox_size": "50MB"}) as server:
        here = folder("shown", virtual="sales@example.org alice@example.org\n", aliases="postmaster: alice\n", box=box())
        for name in ("postconf", "postmap", "postalias", "mail"):
            ours(name, "--help")
        environment = dict(server.environment, PATH=f"{SCRATCH / 'bin'}:{os.environ['PATH']}", USER="alice")
        for block in shown[:3]:
            for command, want in re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", block, re.M):
                done = run("bash", "-c", command, cwd=here, env=environment)
                assert done.returncode == 0 and done.out == want, f"{command}\n got {done.out}\nwant {want}"
        assert server.wait_mail("alice", 1)[0]["Subject"] == server.wait_mail("bob", 1)[0]["Subject"] == "disk space"
        done = run("bash", "-c", re.search(r"^\$ (.*)\n", shown[3]).group(1), cwd=here, env=environment)
        assert done.returncode == 0 and "line one of 1" in done.out and "letter 2" not in (here / "box").read_text(), done.out


@test("each command explains itself")
def _():
    for name in ("postmap", "postalias", "postconf", "postfix", "mail", "mailx"):
        code, out, errors = ours(name, "--help")
        assert code == 0 and out.startswith("usage:") and not errors, (name, out, errors)
