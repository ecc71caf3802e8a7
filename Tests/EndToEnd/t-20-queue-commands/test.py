"""postqueue, postsuper, postcat and mailq print what Debian's own print on the same queue, and do to it what they do."""

import json
import re
import sqlite3
import subprocess
import time

from kit import *
from kit.postfix import Postfix

NEVER = {"retry": {"minimum": "1h", "maximum": "1h"}}
DATE = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d"


class Command:
    """What a command wrote, both streams apart, and its exit code."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()


class Pair:
    """Valija and Debian's Postfix on the same manifest, with the same mail in their queues: one next hop does not answer, the other
    says "not now"."""

    def __enter__(self):
        self.sink = Sink(lambda command, address: "450 4.2.1 not now" if command == "RCPT" else None)
        keys = {"relayhost": f"[127.0.0.1]:{free_port()}", "queue": NEVER, "address_extension": None,
                "domains": {"example.org": {}, "third.example": {"kind": "relay", "via": f"[127.0.0.1]:{self.sink.port}"}}}
        self.server = Server(start=False, **keys)
        twin = Server(start=False, **keys)
        # The same next hops, another port of its own.
        twin.manifest_path.write_text(self.server.manifest_path.read_text().replace(str(self.server.port), str(twin.port)))
        etc = self.server.directory / "etc"
        done = run(BINARY, "render", twin.manifest_path, "-o", etc)
        assert done.returncode == 0, done.out
        with open(etc / "main.cf", "a") as file:
            file.write("enable_long_queue_ids = yes\n")
        self.etc = etc
        self.postfix = Postfix(etc, self.server.directory / "pf", twin.port).start()
        self.server.start()
        for port in (self.server.port, twin.port):
            self.send(port, "bob@example.net", "a@elsewhere.example", "b@elsewhere.example")
            self.send(port, "", "c@third.example")
            self.send(port, "alice@example.org", "d@third.example", "e@elsewhere.example")
        wait_for(lambda: self.are_deferred(), what="three deferred messages in each queue")
        return self

    def __exit__(self, *exception):
        self.postfix.stop()
        self.server.__exit__(*exception)
        self.sink.close()

    @staticmethod
    def send(port, sender, *recipients):
        with Dialogue(port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect(f"MAIL FROM:<{sender}> BODY=8BITMIME", "250")
            for recipient in recipients:
                client.expect(f"RCPT TO:<{recipient}>", "250")
            client.expect("DATA", "354")
            client.write(b"From: x@example.net\r\nTo: y@example.org\r\nSubject: for " + recipients[0].encode() + b"\r\nMessage-ID: <1@example.net>\r\n"
                         b"Date: Mon, 24 Nov 2025 10:00:00 +0000\r\n\r\none\r\n.. two\r\n\r\n.\r\n")
            assert client.reply().startswith("250")

    def ours(self, name, *arguments, input=None):
        link = self.server.directory / name
        if not link.is_symlink():
            link.symlink_to(BINARY)
        return Command(subprocess.run([link, *arguments], input=input, env=self.server.environment, capture_output=True, timeout=60))

    def theirs(self, name, *arguments, input=None):
        config = "-C" if name == "mailq" else "-c"
        return Command(subprocess.run([name, config, str(self.etc), *arguments], input=input, capture_output=True, timeout=60))

    def are_deferred(self):
        return all(self.queue(ask, "deferred") and len(self.queue(ask, "deferred")) == 3 for ask in (self.ours, self.theirs))

    @staticmethod
    def queue(ask, *names):
        """{sender: id} of the messages in these queues whose recipients all wait for a reason."""
        entries = [json.loads(line) for line in ask("postqueue", "-j").out.splitlines()]
        return {entry["sender"]: entry["queue_id"] for entry in entries
                if entry["queue_name"] in names and all("delay_reason" in recipient for recipient in entry["recipients"])}

    def both(self, name, *arguments, **options):
        """Asks both, with @SENDER replaced by the id of that sender's message; returns what was said with the ids put back."""
        answers = []
        for ask in (self.ours, self.theirs):
            ids = self.queue(ask, "deferred", "hold", "active", "incoming")
            words = [ids[word[1:]] if word.startswith("@") else word for word in arguments]
            given = dict(options)
            if "input" in given:
                given["input"] = "".join((ids[line[1:]] if line.startswith("@") else line) + "\n" for line in given["input"]).encode()
            answer = ask(name, *words, **given)
            for sender, name_of in ids.items():
                answer.err = answer.err.replace(name_of, f"@{sender}")
            answers.append(answer)
        return answers


def listing(text):
    """The listing with ids, sizes and times replaced by words of the same width; its entries, and in each the reasons with their
    recipients, in one order: Postfix has that of its hashed directories and of its deliveries."""
    title, *rest = text.split("\n", 1)
    entries = rest[0].rsplit("-- ", 1)[0] if rest else ""
    entries = re.sub(r"^([0-9A-Za-z]{12,16})([*!]?)( *) ( *\d+) (" + DATE + r") ",
                     lambda m: f"{'ID' + m[2]:{len(m[1] + m[2] + m[3])}} {'SIZE':>{len(m[4])}} {'DATE':{len(m[5])}} ", entries, flags=re.M)
    entries = [[head, sorted(re.split(r"\n(?= *\()", "\n" + rest))] for head, _, rest in (entry.partition("\n") for entry in entries.split("\n\n"))]
    return [title, *sorted(entries), re.sub(r"\d+ Kbytes", "N Kbytes", text.splitlines()[-1])]


def objects(text):
    text = re.sub(r'"queue_id": "[0-9A-Za-z]+"', '"queue_id": "ID"', text)
    text = re.sub(r'"arrival_time": \d{10,}', '"arrival_time": TIME', text)
    text = re.sub(r'"message_size": \d+', '"message_size": SIZE', text)
    # Recipients in one order, their text as it is.
    return sorted(line[: line.index("[")] + repr(sorted(re.findall(r'\{"address.*?"\}|[^{}]+', line[line.index("["):]))) for line in text.splitlines())


@test("postqueue -p and mailq: the same octets as Debian's, on a queue with deferred and held mail and on an empty one")
def _():
    with Pair() as pair:
        pair.both("postsuper", "-h", "@bob@example.net")
        for name, arguments in (("postqueue", ["-p"]), ("mailq", [])):
            ours, theirs = pair.ours(name, *arguments), pair.theirs(name, *arguments)
            assert listing(ours.out) == listing(theirs.out), f"ours\n{ours.out}\ntheirs\n{theirs.out}"
            assert ours.out.count("!") == 1 and (ours.code, ours.err) == (theirs.code, theirs.err) == (0, "")
        assert re.search(r"^ *\(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.1 not now \(in reply to RCPT TO command\)\)$", ours.out, re.M), ours.out
        assert re.search(r"^ +\(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: Connection refused\)$", ours.out, re.M), ours.out
        pair.both("postsuper", "-d", "ALL")
        ours, theirs = pair.ours("postqueue", "-p"), pair.theirs("postqueue", "-p")
        assert ours.out == theirs.out == "Mail queue is empty\n", (ours.out, theirs.out)


@test("postqueue -j: the same objects as Debian's")
def _():
    with Pair() as pair:
        pair.both("postsuper", "-h", "@MAILER-DAEMON")
        ours, theirs = pair.ours("postqueue", "-j"), pair.theirs("postqueue", "-j")
        assert objects(ours.out) == objects(theirs.out), f"ours\n{ours.out}\ntheirs\n{theirs.out}"
        assert sorted(json.loads(line)["queue_name"] for line in ours.out.splitlines()) == ["deferred", "deferred", "hold"]


@test("postsuper: the same words and exit codes as Debian's for each deed, and the same queue after it")
def _():
    with Pair() as pair:
        for words, options in [
            (["-h", "@bob@example.net"], {}), (["-h", "@bob@example.net"], {}), (["-h", "NOSUCH123"], {}), (["-h", "ALL"], {}),
            (["-H", "@bob@example.net"], {}), (["-H", "ALL"], {}), (["-H", "ALL"], {}), (["-h", "ALL", "deferred"], {}), (["-h", "ALL", "hold"], {}),
            (["-H", "-"], {"input": ["@bob@example.net", "NOSUCH123", "", "bad/id", "@MAILER-DAEMON"]}), (["-d", "bad/id"], {}), (["-d", "3FFFF"], {}), (["-d", "all"], {}),
            (["-d", "ALL", "bogus"], {}), (["-d", "ALL", "maildrop"], {}), (["-s"], {}), (["-p"], {}), (["-sp"], {}), ([], {}),
            (["-h", "@MAILER-DAEMON", "-d", "@bob@example.net"], {}), (["-r", "@alice@example.org"], {}),
        ]:
            # What was released is tried at once, and is in the active queue for that moment: Postfix's stays deferred until a flush.
            for _ in range(200):
                if not re.search(r"^[0-9A-Za-z]+\*", pair.ours("postqueue", "-p").out, re.M):
                    break
                time.sleep(0.05)
            ours, theirs = pair.both("postsuper", *words, **options)
            assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), f"{words}: ours {ours.code} {ours.err}theirs {theirs.code} {theirs.err}"
        # The requeued message starts over, and waits again. Postfix's pickup looks once a minute, or when it is told.
        run("postkick", "-c", pair.etc, "public", "pickup", "W")
        for ask in (pair.ours, pair.theirs):
            wait_for(lambda: pair.queue(ask, "deferred").keys() == {"alice@example.org"}, what="a deferred message again")
            assert pair.queue(ask, "hold").keys() == {"MAILER-DAEMON"}
        ours, theirs = pair.both("postsuper", "-d", "ALL", "hold")
        assert (ours.code, ours.err) == (theirs.code, theirs.err) == (0, "postsuper: Deleted: 1 message\n")
        ours, theirs = pair.both("postsuper", "-r", "ALL", "-h", "ALL", "-H", "ALL", "-d", "ALL")
        assert [line.split(":")[1] for line in ours.err.splitlines()] == [line.split(":")[1] for line in theirs.err.splitlines()], (ours.err, theirs.err)
        for words in (["-x"], ["-d"]):
            ours, theirs = pair.both("postsuper", *words)
            assert ours.code == theirs.code == 1 and ours.err.splitlines()[0] == theirs.err.splitlines()[0], (ours.err, theirs.err)


@test("postqueue -f, -i, -s: mail on hold stays, the rest is tried; what is wrong is said in the same words")
def _():
    with Pair() as pair:
        for words in ([], ["-x"], ["-i"], ["-f", "-p"], ["-f", "more"], ["-i", "bad/id"], ["-i", "NOSUCH123"], ["-f"]):
            ours, theirs = pair.both("postqueue", *words)
            assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), f"{words}: {ours.code} {ours.err} {theirs.code} {theirs.err}"
        server = pair.server
        pair.ours("postsuper", "-h", pair.queue(pair.ours, "deferred", "active")["MAILER-DAEMON"])

        def attempts(address):
            return len(server.events("delivery.deferred", to=address))

        wait_for(lambda: len(pair.queue(pair.ours, "deferred")) == 2, what="the flush to be over")
        before = {address: attempts(address) for address in ("a@elsewhere.example", "c@third.example", "d@third.example")}
        assert pair.ours("postqueue", "-s", "third.example").code == 0
        wait_for(lambda: attempts("d@third.example") > before["d@third.example"], what="an attempt for the site")
        assert pair.ours("postqueue", "-i", pair.queue(pair.ours, "deferred", "active", "incoming")["bob@example.net"]).code == 0
        wait_for(lambda: attempts("a@elsewhere.example") == before["a@elsewhere.example"] + 1, what="an attempt for the message")
        assert attempts("c@third.example") == before["c@third.example"], "mail on hold was tried"


@test("postcat -q: header and body as Debian's prints them, and the records of the envelope that both have")
def _():
    with Pair() as pair:
        for letters in ("-qb", "-qh", "-qbh", "-qhb"):
            ours, theirs = pair.both("postcat", letters, "@bob@example.net")
            strip = lambda text: re.sub(r"^Received: .*\n(?:[ \t].*\n)*", "", text)
            assert ours.code == theirs.code == 0 and strip(ours.out) == strip(theirs.out), f"{letters}\n{ours.out}\n{theirs.out}"
        for letters in ("-q", "-qe", "-qd", "-qv"):
            ours, theirs = pair.both("postcat", letters, "@bob@example.net")
            records = lambda text: re.sub(r"(?<=deferred/)\S+", "ID", re.sub(DATE + r" \d{4}", "DATE", text)).splitlines()
            found, wanted = records(ours.out), records(theirs.out)
            heads = [line for line in wanted if re.search(r"\*\*\*|(?<!orig_)sender: |recipient: |orig_rcpt=|_time: |rewrite_context|encoding=", line)]
            assert [line for line in found if line in heads] == heads, f"{letters}: ours\n{ours.out}\ntheirs\n{theirs.out}"
            missing = [line for line in found if line not in wanted and not re.search(r"message_size: |log_ident=|Received: |^ *(?:78 |regular_text: )?\t", line)]
            assert not missing, f"{letters}: only ours: {missing}"
        for words in (["-q", "bad/id"], ["-q"], []):
            ours, theirs = pair.both("postcat", *words, input=[])
            if words:
                assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), (ours.err, theirs.err)
        ours = pair.ours("postcat", "-q", "ABCDEF")
        assert (ours.code, ours.err) == (1, "postcat: fatal: open queue file ABCDEF: No such file or directory\n"), ours.err


@test("valija queue hold, release, requeue, delete: text and JSON, one or several or ALL, and a word for what is not there")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        ids = [server.send(message(name), [f"{name}@elsewhere.example"]) for name in "abc"]
        server.wait_event("delivery.deferred", count=3)
        wait_for(lambda: all(entry["queue"] == "deferred" for entry in server.queue()), what="three deferred messages")

        def queue(*words):
            done = server.valija("queue", *words)
            return done.returncode, done.out

        assert queue("hold", ids[0], ids[1]) == (0, "2 messages held\n")
        assert [entry["queue"] for entry in server.queue()] == ["hold", "hold", "deferred"]
        assert queue("hold", ids[0], "--json") == (0, '{"held":0}\n')
        assert queue("flush") == (0, "1 message flushed\n")
        assert queue("release", "ABC") == (1, "valija queue: no message ABC in the queue\n")
        assert queue("release", ids[0], "ABC") == (1, "valija queue: no message ABC in the queue\n1 message released\n")
        assert queue("release", "ALL", "--json") == (0, '{"released":1}\n')
        wait_for(lambda: all(entry["queue"] == "deferred" for entry in server.queue()), what="three deferred messages again")
        assert queue("requeue", "ALL") == (0, "3 messages requeued\n")
        assert queue("delete", "x/y")[0] == 64
        assert queue("delete", ids[2], "--json") == (0, '{"deleted":1}\n')
        assert queue("delete", "ALL") == (0, "2 messages deleted\n")
        assert server.queue() == []
        assert queue("hold", "ALL") == (0, "0 messages held\n")


@test("the pipes that docs/commands.md shows do what it says")
def _():
    shown = re.findall(r"^\$ (.*)\n((?:postsuper: .*\n)+)", (ROOT / "docs/commands.md").read_text(), re.M)
    assert len(shown) == 2, shown
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER) as server:
        for name in ("mailq", "postsuper", "postqueue"):
            server.called(name)
        environment = dict(server.environment, PATH=f"{server.directory}:/usr/bin:/bin")
        ids = [server.send(message("x"), ["x@elsewhere.example"], sender=sender) for sender in ("spam@example.net", "good@example.net")]
        server.wait_event("delivery.deferred", count=2)
        wait_for(lambda: all(entry["queue"] == "deferred" for entry in server.queue()), what="two deferred messages")
        for command, said in shown:
            done = run("bash", "-c", command, env=environment)
            want = said.replace("12 messages", "2 messages").replace("6445439EE4A40", ids[0])
            assert done.returncode == 0 and done.out == want, f"{command}: {done.out}, not {want}"
        assert [entry["queue_id"] for entry in server.queue()] == [ids[1]]


@test("mail that waits for a wrong address goes to the right one: the manifest is mended and reloaded, the message requeued")
def _():
    with Server(relayhost=f"[127.0.0.1]:{free_port()}", queue=NEVER, aliases={"postmaster": "alice", "info": "typo@elsewhere.example"}) as server:
        queue_id = server.send(message("for info"), ["info@example.org"])
        server.wait_event("delivery.deferred", queue_id=queue_id)
        wait_for(lambda: server.queue()[0]["queue"] == "deferred", what="a deferred message")
        server.manifest_path.write_text(server.manifest_path.read_text().replace("typo@elsewhere.example", "bob"))
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        assert server.called("postsuper", "-r", queue_id).out == f"postsuper: {queue_id}: requeued\npostsuper: Requeued: 1 message\n"
        [letter] = server.wait_mail("bob", 1)
        assert letter["X-Original-To"] == "info@example.org", letter.fields
        server.wait_queue_empty()


@test("a queue of 100,000 messages is listed, held and deleted in bounded memory and time", limit=180)
def _():
    count = 100_000
    with Server(queue=NEVER, logging={"level": "info"}) as server:
        server.stop()
        database = sqlite3.connect(server.spool / "spool.db")
        due = (int(time.time()) + 36000) * 1_000_000
        with database:
            database.executemany("INSERT INTO message VALUES(?,'bob@example.net',?,1000,0,NULL,?,1,NULL,0,0,NULL)",
                                 ((n + 1, 1_700_000_000_000_000, due) for n in range(count)))
            database.executemany("INSERT INTO recipient VALUES(?,0,?,?,NULL,0,NULL,0,451,'4.4.1','connect to x: refused','none',NULL,1)",
                                 ((n + 1, f"r{n}@elsewhere.example", f"r{n}@elsewhere.example") for n in range(count)))
            database.executemany("INSERT INTO body VALUES(?,?)", ((n + 1, b"Subject: x\r\n\r\n" + bytes(900)) for n in range(count)))
        database.close()
        server.start()
        server.http("/readyz")
        before = server.memory("VmHWM")
        for name, arguments, lines in (("postqueue", ["-p"], 4 * count + 2), ("postqueue", ["-j"], count), ("postsuper", ["-h", "ALL"], 1), ("postsuper", ["-H", "ALL", "deferred"], 1)):
            started = time.monotonic()
            done = server.called(name, *arguments)
            seconds = time.monotonic() - started
            assert done.returncode == 0 and done.out.count("\n") == lines, (done.returncode, done.out[-300:])
            print(f"     {name} {' '.join(arguments)}: {seconds:.1f} s")
            assert seconds < 60, f"{name} {arguments}: {seconds} s"
        ids = "".join(f"{n + 1:X}\n" for n in range(10_000))
        done = server.called("postsuper", "-d", "-", input=ids)
        assert done.out.endswith("postsuper: Deleted: 10000 messages\n") and done.out.count("removed") == 10_000, done.out[-300:]
        done = server.called("postsuper", "-d", "ALL")
        assert done.out == f"postsuper: Deleted: {count - 10_000} messages\n", done.out
        assert server.called("mailq").out == "Mail queue is empty\n"
        grown = server.memory("VmHWM") - before
        print(f"     memory: {before} KiB, grown by {grown} KiB at most")
        assert grown < 48 << 10, f"{grown} KiB more for a queue of {count}"
