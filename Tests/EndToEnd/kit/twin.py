"""Twins: one manifest served by Valija, and by Postfix on what `valija render` made of it. Both hear the same dialogues;
what they answer, deliver, pass on and report is compared field by field.

A manifest is a file that `valija check` accepts. Of it are replaced, for each twin: the directory `/var/mail`, and each
`[127.0.0.1]:PORT` by a recording sink (`SINKS` says what each port's sink is able to do). `/etc/valija/tls` becomes a
directory with `fullchain.pem` and `privkey.pem` for mx.example.org, and a fingerprint of zeros that of the client's
certificate. `listen`, `queue` and `logging` are added unless they stand there.

A file of dialogues is text:

    # a comment
    service: submission          the dialogues are with that one, Postfix's logins are checked by Dovecot; `smtp` unless said
    accounts: virtual            in which ways Postfix keeps the mailboxes: `virtual`, `unix`; both unless said
    proxy: yes                   clients come through a load balancer, which says so
    == a sentence                begins a dialogue; `{id}` in it stands for its own mark, `{from}` for {id}@sender.example
    client 127.0.0.9             the address that it comes from; 127.0.0.1 unless said
    proxy TCP4 192.0.2.7 …       the load balancer's first line; only at the beginning
    tls WORDS                    the handshake, after STARTTLS or at the beginning; of WORDS `1.2` allows no newer version,
                                 and `certificate` shows the client's
    scram DIGEST USER PASSWORD   a login by SCRAM-DIGEST, whose server has to prove that it has the keys
    > NOOP                       a line, and the reply is read
    >> raw octets\\r\\n            octets, and nothing is read
    < 2                          reads that many replies
    content                      after 354: a message and the final dot; the reply is read. With lines below, that text:
    | Subject: {id}
    |
    | {x*2000}                   `x` two thousand times; \\r \\n \\t \\0 \\xNN \\\\ as in C
    bdat LAST                    the lines below as a chunk
    send a@example.org b@…       EHLO, MAIL, RCPT, DATA, content, QUIT; `from=<>` sets the sender
    settle                       waits until all mail is delivered
    end                          the client closes its side; what still comes is read
    another                      one more connection of the same client, held until the end of the dialogue
    ~ id text                    a difference that must be found, word for word; `id` stands in docs/postfix.md
    ~unix id text                the same, with that kind of accounts only

In a message a dot at the start of a line is doubled, as clients do it; in `>>` nothing is changed.
"""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import threading

from . import scram
from .addresses import free_port
from .dovecot import Logins
from .facts import facts_of_letter, facts_of_transaction, split_mbox
from .peers import Dialogue, Sink
from .postfix import Postfix
from .server import BINARY, SCRATCH, Server, run
from .twin_tls import Credentials, handshake

Step = collections.namedtuple("Step", "kind argument text", defaults=(None,))
MARK = re.compile(rb"d\d\dx\d\d\d")


# Dialogues


class Script:
    """One dialogue of a file."""

    def __init__(self, sentence, mark, line):
        self.sentence, self.mark, self.line = sentence, mark, line
        self.client = "127.0.0.1"
        self.steps = []
        self.expected = []  # (accounts, id, difference)


def read_scripts(path, number):
    """({setting: value}, [Script]) of a file of dialogues."""
    settings, scripts, block = {}, [], None
    for count, line in enumerate(path.read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        if line.startswith("|"):
            assert block is not None, f"{path}:{count}: content without a command"
            block.append(line[2:])
            continue
        block = None
        if not line.strip() or line.startswith("#"):
            continue
        if word == "==":
            scripts.append(Script(rest, f"d{number:02}x{len(scripts) + 1:03}", count))
            continue
        if not scripts:
            name, _, value = line.partition(":")
            settings[name] = value.strip()
            continue
        script = scripts[-1]
        steps = script.steps
        if word == "client":
            script.client = rest
        elif word == ">":
            steps.append(Step("line", rest))
        elif word == ">>":
            steps.append(Step("raw", rest))
        elif word == "<":
            steps.append(Step("read", int(rest or 1)))
        elif word in ("content", "bdat"):
            block = []
            steps.append(Step(word, rest, block))
        elif word == "send":
            sender, block = "{from}", []
            recipients = []
            for part in rest.split():
                if part.startswith("from="):
                    sender = part[5:].strip("<>")
                else:
                    recipients.append(part)
            commands = ["EHLO client.example", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{to}>" for to in recipients), "DATA"]
            steps += [Step("line", command) for command in commands] + [Step("content", "", block), Step("line", "QUIT")]
        elif word in ("settle", "end", "another", "proxy", "tls", "scram"):
            steps.append(Step(word, rest))
        elif word in ("~", "~unix", "~virtual"):
            ident, _, text = rest.partition(" ")
            script.expected.append((word[1:], ident, text.replace("{id}", script.mark)))
        else:
            raise AssertionError(f"{path}:{count}: what is {word!r}?")
    return settings, scripts


def octets(text, mark):
    """What a line of a script stands for."""
    text = text.replace("{from}", "{id}@sender.example").replace("{id}", mark)
    text = re.sub(r"\{(.[^{}]*)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    named = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
    return re.sub(rb"\\(x[0-9a-f]{2}|[rnt0\\])",
                  lambda m: named.get(m.group(1)) or bytes([int(m.group(1)[1:], 16)]), text.encode())


def letter(lines, mark):
    """A message: the lines, or a plain one that bears the mark."""
    if not lines:
        lines = ["From: Sender <{from}>", "To: Somebody <somebody@example.net>", "Subject: About {id}", "Message-ID: <{id}@client.example>",
                 "Date: Mon, 24 Nov 2025 10:00:00 +0000", "", "One line.", "And another."]
    return b"".join(octets(line, mark) + b"\r\n" for line in lines)


def codes(reply):
    """`250 2.1.0` of a reply; of one with many lines, those of its last."""
    if not reply:
        return "closed"
    last = reply.splitlines()[-1]
    found = re.match(r"(\d{3}) ?(\d\.\d{1,3}\.\d{1,3}\b)?", last)
    return " ".join(filter(None, found.groups())) if found else last


def play(script, side):
    """[(what was asked, reply)]."""
    heard = []
    try:
        with contextlib.ExitStack() as connections:
            peer = connections.enter_context(Dialogue(side.port, source=script.client, greeting=False))
            steps = list(script.steps)
            while steps and steps[0].kind in ("proxy", "tls"):  # before the first word of the server
                first = steps.pop(0)
                if first.kind == "proxy":
                    peer.write(f"PROXY {first.argument}\r\n".encode())
                else:
                    heard.append(("tls", handshake(peer, first.argument.split())))
            reply = peer.reply()
            heard.append(("greeting", reply))
            for step in steps:
                asked = None
                if step.kind == "tls":
                    heard.append(("tls", handshake(peer, step.argument.split())))
                    continue
                elif step.kind == "scram":
                    heard += scram.login(peer, *step.argument.split())
                    continue
                elif step.kind == "line":
                    line = octets(step.argument, script.mark)
                    asked = step.argument[:60]
                    peer.write(line + b"\r\n")
                elif step.kind == "raw":
                    peer.write(octets(step.argument, script.mark))
                    continue
                elif step.kind == "read":
                    for count in range(step.argument):
                        reply = peer.reply()
                        heard.append((f"reply {count + 1} of {step.argument}", reply))
                    continue
                elif step.kind == "content":
                    asked = "content"
                    if not reply.startswith("354"):
                        heard.append((asked, "not sent"))
                        continue
                    data = letter(step.text, script.mark)
                    peer.write(re.sub(rb"^\.", b"..", data, flags=re.M) + b".\r\n")
                elif step.kind == "bdat":
                    data = letter(step.text, script.mark)
                    asked = f"BDAT {len(data)} {step.argument}".rstrip()
                    peer.write(asked.encode() + b"\r\n" + data)
                elif step.kind == "another":
                    other = connections.enter_context(Dialogue(side.port, source=script.client, greeting=False))
                    heard.append(("another greeting", other.reply()))
                    continue
                elif step.kind == "settle":
                    side.settle()
                    continue
                elif step.kind == "end":
                    peer.socket.shutdown(socket.SHUT_WR)
                    while reply:
                        reply = peer.reply()
                        heard.append(("end", reply))
                    continue
                reply = peer.reply()
                heard.append((asked, reply))
    except (ConnectionError, socket.timeout) as error:
        heard.append(("connection", type(error).__name__))
    return heard


def keywords(reply):
    """The extensions of a reply to EHLO."""
    return sorted(line[4:].split(" ")[0] for line in reply.splitlines()[1:])


def mechanisms(reply):
    """Those of logins, in any order: the client chooses."""
    return sorted(word for line in reply.splitlines()[1:] if line[4:].startswith("AUTH ") for word in line[9:].split())


# Next hops

# What the sink at each port of the manifests is able to do.
FULL = ("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
SINKS = {10025: FULL, 10026: ("PIPELINING", "SIZE 100000000", "ENHANCEDSTATUSCODES"), 10027: None, 10028: FULL, 10029: FULL}


def answers(extensions):
    """A sink's behaviour: told by the local part of a recipient, or of the sender where the whole message is meant."""
    asked = collections.Counter()
    open_sender = threading.local()

    def answer(command, argument):
        if command == "EHLO" and extensions is None:
            return "502 5.5.1 HELO is all I know"
        if command == "MAIL":
            open_sender.text = argument
        if command == "RCPT":
            name = argument.split("@")[0]
            asked[argument] += 1
            if name.startswith("nobody"):
                return "550 5.1.1 no such user here"
            if name.startswith("plain"):
                return "550 no, and no more detail"
            if name.startswith("full"):
                return "552 5.2.2 mailbox full"
            if name.startswith("later") and asked[argument] == 1:
                return "451 4.7.1 come again"
            if name.startswith("never"):
                return "450 4.2.1 busy for ever"
            open_sender.bad = name.startswith("unwanted")
        if command == "." and getattr(open_sender, "bad", False):
            open_sender.bad = False
            return "554 5.7.1 the content is not wanted"
        return None

    return answer


# The twins


class Side:
    """What both have: a port, mailboxes and sinks."""

    def __init__(self, manifest_text, mail, settings):
        self.mail = mail
        self.service = settings.get("service", "smtp")
        self.is_proxied = settings.get("proxy") == "yes"
        mail.mkdir(exist_ok=True)
        mail.chmod(0o1777)  # as /var/mail is
        self.sinks = {}
        for port in sorted({int(port) for port in re.findall(r"\[127\.0\.0\.1\]:(\d+)", manifest_text)}):
            self.sinks[port] = Sink(answers(SINKS[port]), extensions=SINKS[port] or ("",))

    def manifest(self, text, port, health, spool):
        text = Credentials.in_place(text.replace("/var/mail", str(self.mail)))
        text = re.sub(r"\[127\.0\.0\.1\]:(\d+)", lambda m: f"[127.0.0.1]:{self.sinks[int(m.group(1))].port}", text)
        other = "" if self.service == "smtp" else f'smtp: ["127.0.0.1:{free_port()}"], '
        other += f'proxy_protocol: ["127.0.0.1:{port}"], proxies: [127.0.0.0/8], ' if self.is_proxied else ""
        keys = {
            "listen": f'{{{self.service}: ["127.0.0.1:{port}"], {other}health: ["127.0.0.1:{health}"]}}',
            "queue": f"{{directory: {spool}, minimum_free: 0, retry: {{minimum: 1s, maximum: 2s}}}}",
            "mailboxes": f"{{directory: {self.mail}}}",
            "logging": "{level: debug}",
        }
        text = text.replace("/var/spool/valija", str(spool))
        for key, value in keys.items():
            if not re.search(rf"^{key}:", text, re.M):
                text += f"{key}: {value}\n"
        return text

    def close(self):
        for sink in self.sinks.values():
            sink.close()

    def stored(self):
        """[(user, octets with LF line ends)] of all mailboxes."""
        found = []
        for path in sorted(self.mail.iterdir()):
            if path.is_dir():
                files = [file for part in ("new", "cur") for file in (path / part).glob("*")]
                found += [(path.name.lower(), file.read_bytes()) for file in files]
            elif not path.name.endswith(".lock"):
                found += [(path.name.lower(), text) for text in split_mbox(path.read_bytes())]
        return found


class ValijaSide(Side):
    def __init__(self, text, settings):
        self.server = Server(start=False)
        super().__init__(text, self.server.mail, settings)
        self.port = self.server.port
        self.server.manifest_path.write_text(self.manifest(text, self.port, self.server.health_port, self.server.spool))
        self.server.start()

    def settle(self):
        self.server.wait_queue_empty()

    def stop(self):
        code, _ = self.server.stop()
        Server.started.remove(self.server)  # its log is of no interest any more
        assert code == 0, f"serve ended with {code}: {self.server.errors()}"
        self.close()


class PostfixSide(Side):
    def __init__(self, text, accounts, settings):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="p-", dir=SCRATCH))
        super().__init__(text, directory / "mail", settings)
        self.port = free_port()
        manifest = directory / "mail.yaml"
        manifest.write_text(self.manifest(text, self.port, free_port(), directory / "unused"))
        etc = directory / "etc"
        done = run(BINARY, "render", manifest, "-o", etc, "--accounts", accounts)
        assert done.returncode == 0, done.out
        self.postfix = Postfix(etc, directory / "postfix", self.port)
        if (etc / "tmpfiles.conf").exists():
            for path, mode, user in re.findall(r"^d (\S+) (\d+) (\S+)", (etc / "tmpfiles.conf").read_text(), re.M):
                os.makedirs(path, int(mode, 8))
                shutil.chown(path, user)
        self.postfix.start()
        self.dovecot = Logins.rendered(self.postfix, directory / "dovecot").start() if self.service != "smtp" else None

    def settle(self):
        self.postfix.wait_queue_empty()

    def stop(self):
        if self.dovecot:
            self.dovecot.stop()
        self.postfix.stop()
        self.close()


# What became of the messages


def outcome(side):
    """{mark: [facts]}; letters of no dialogue under None."""
    found = collections.defaultdict(list)

    def note(data, facts):
        mark = MARK.search(data)
        found[mark.group().decode() if mark else None].append(facts)

    for user, data in side.stored():
        note(data, facts_of_letter(f"mailbox {user}", data))
    for port, sink in side.sinks.items():
        for (_, _, data), transaction in zip(sink.messages, sink.transactions):
            note(" ".join([transaction[0], *transaction[1]]).encode() + data, facts_of_transaction(f"next hop {port}", transaction, data))
    return found


# The comparison


class Comparison:
    """Counts what is compared and collects what differs, worded the same each time."""

    def __init__(self):
        self.count = 0
        self.differences = []

    def check(self, what, valija, postfix):
        self.count += 1
        if valija != postfix:
            self.differences.append(f"{what}: valija {valija}, postfix {postfix}")

    def replies(self, valija, postfix):
        for (asked, one), (_, other) in zip(valija, postfix):
            self.check(asked, codes(one), codes(other))
            if asked.startswith("EHLO") and one.startswith("250") and other.startswith("250"):
                self.check("extensions", " ".join(keywords(one)), " ".join(keywords(other)))
                if mechanisms(one) and mechanisms(other):
                    self.check("mechanisms", " ".join(mechanisms(one)), " ".join(mechanisms(other)))
        if len(valija) != len(postfix):
            self.check("replies", len(valija), len(postfix))

    def outcomes(self, valija, postfix):
        places = sorted({facts["place"] for facts in valija + postfix})
        for place in places:
            mine = sorted((facts for facts in valija if facts["place"] == place), key=weight)
            theirs = sorted((facts for facts in postfix if facts["place"] == place), key=weight)
            self.check(f"{place}: messages", len(mine), len(theirs))
            if len(mine) == len(theirs):
                for one, other in zip(mine, theirs):
                    self.letters(place, one, other)
            elif len(mine) == 1:
                for other in theirs:  # copies of the same, at least
                    self.check(f"{place}: content", *first_difference(mine[0].get("content", ""), other.get("content", "")))

    def letters(self, place, one, other):
        for name in [*one, *(name for name in other if name not in one)]:
            valija, postfix = one.get(name, "none"), other.get(name, "none")
            if name.endswith("content") and valija != postfix:
                valija, postfix = first_difference(valija, postfix)
            self.check(f"{place}: {name}", valija, postfix)


def weight(facts):
    """Sorts what belongs together of two sides to the same place."""
    return "report recipients" in facts, facts.get("content", ""), facts.get("X-Original-To", ""), facts.get("RCPT", ""), str(facts)


def first_difference(one, other):
    """The first lines that differ, short and printable; equal words where none does."""
    if one == other:
        return "the same", "the same"
    mine, theirs = one.split("\n"), other.split("\n")
    for a, b in zip(mine + [None], theirs + [None]):
        if a != b:
            return tuple("its end" if line is None else ascii(line[:60]) for line in (a, b))
    return f"{len(mine)} lines", f"{len(theirs)} lines"


class Twin:
    """A manifest with its dialogues."""

    def __init__(self, manifest, dialogues, number):
        self.name = manifest.stem
        self.text = manifest.read_text()
        self.dialogues = dialogues
        self.settings, self.scripts = read_scripts(dialogues, number)
        self.accounts = self.settings.get("accounts", "virtual unix").split()
        self.comparison_count = 0
        self.findings = []  # (script, accounts, [differences])
        self.strays = []

    def run(self):
        """Plays all on Valija and on a Postfix for each kind of accounts, and compares."""
        makers = [lambda: ValijaSide(self.text, self.settings),
                  *(lambda accounts=accounts: PostfixSide(self.text, accounts, self.settings) for accounts in self.accounts)]
        sides, heard, errors = [None] * len(makers), [None] * len(makers), []

        def work(index):
            try:
                sides[index] = side = makers[index]()
                heard[index] = [play(script, side) for script in self.scripts]
                side.settle()
            except BaseException as error:
                errors.append(error)
            finally:
                over.wait()  # Postfix ends with the thread that started it

        over = threading.Barrier(len(makers))
        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(makers))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                raise AssertionError(f"{self.name}: {errors[0]}") from errors[0]
            outcomes = [outcome(side) for side in sides]
        finally:
            for side in sides:
                if side:
                    side.stop()
        for index, accounts in enumerate(self.accounts, 1):
            for position, script in enumerate(self.scripts):
                comparison = Comparison()
                comparison.replies(heard[0][position], heard[index][position])
                comparison.outcomes(outcomes[0].get(script.mark, []), outcomes[index].get(script.mark, []))
                self.comparison_count += comparison.count
                self.findings.append((script, accounts, comparison.differences))
        self.strays = [facts for side in outcomes for facts in side.get(None, [])]
        return self
