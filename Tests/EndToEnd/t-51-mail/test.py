"""`mail`: what it sends, and how it reads mailboxes, beside Debian's bsd-mailx and s-nail."""

import os
import re
import subprocess

from kit import *
from kit.commands import apart, called_by_name, folder, happens, ours, shown_in_commands

# Sending

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


# Reading

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

@test("what docs/commands.md shows of mail is what happens")
def _():
    with Server() as server:
        here = folder("shown", box=box())
        environment = dict(called_by_name(server, "mail"), USER="alice")
        sends, reads = shown_in_commands("Mail:")
        happens(sends, here, environment)
        assert server.wait_mail("alice", 1)[0]["Subject"] == server.wait_mail("bob", 1)[0]["Subject"] == "disk space"
        done = run("bash", "-c", re.search(r"^\$ (.*)\n", reads).group(1), cwd=here, env=environment)
        assert done.returncode == 0 and "line one of 1" in done.out and "letter 2" not in (here / "box").read_text(), done.out
