"""logging.format: text writes what Postfix would: pflogsumm counts it right, fail2ban finds those who are to be banned."""

import re
from collections import Counter

from kit import *
from kit.postfix import Postfix

LINE = re.compile(r"(\w{3} [ \d]\d \d\d:\d\d:\d\d) mx postfix/([\w-]+)\[(\d+)\]: (.*)")
TEXT = {"level": "info", "format": "text"}


class TextServer(Server):
    """Its log is no JSON: `lines` has (program, process, text) of each line."""

    def start(self):
        self.spawn()
        wait_for(lambda: any(text.startswith("daemon started") for _, _, text in self.lines()), 20, "daemon started")
        return self

    def lines(self):
        text = self.log_path.read_text(errors="surrogateescape") if self.log_path.exists() else ""
        found = []
        for line in text.split("\n")[:-1]:
            match = LINE.fullmatch(line)
            assert match, f"no line of syslog: {line!r}"
            found.append(match.groups()[1:])
        return found

    def texts(self, program):
        return [text for name, _, text in self.lines() if name == program]

    def wait_line(self, program, pattern, timeout=15):
        return wait_for(lambda: next((m for text in self.texts(program) for m in [re.fullmatch(pattern, text)] if m), None), timeout,
                        f"{program}: {pattern}\n" + "\n".join(map(str, self.lines())))


def answers(command, address):
    if command == "RCPT":
        return {"later@elsewhere.example": "450 4.2.1 not now", "never@elsewhere.example": "550 5.1.1 no such user"}.get(address)


def refused(server, commands, source="127.0.0.2"):
    with Dialogue(server.port, source=source) as client:
        client.expect("EHLO bad.example.net", "250")
        client.expect("MAIL FROM:<spam@example.net>", "250")
        for command, prefix in commands:
            client.expect(command, prefix)
        client.expect("QUIT", "221")


def traffic(server):
    """Of each kind something, and the figures that a summary of it has."""
    server.send(message("one"), ["alice@example.org"])
    server.send(message("two"), ["info@example.org", "carol@example.org"], sender="other@example.net")
    server.send(message("out"), ["good@elsewhere.example"], sender="alice@example.org")
    server.send(message("waits"), ["later@elsewhere.example"])
    server.send(message("comes back"), ["never@elsewhere.example", "good@elsewhere.example"], sender="alice@example.org")
    refused(server, [("RCPT TO:<nobody@example.org>", "550 5.1.1")] * 2 + [("RCPT TO:<x@third.example>", "554 5.7.1")])
    refused(server, [("RCPT TO:<nobody@example.org>", "550 5.1.1")], source="127.0.0.3")
    server.wait_line("qmgr", r"(\w+): from=<>, size=\d+, nrcpt=1 \(queue active\)")
    server.wait_mail("alice", 2)  # the message, and the report
    server.wait_line("smtp", r"\w+: to=<later@.*status=deferred .*")
    # alice, info, carol, good twice, the report
    wait_for(lambda: sum("status=sent" in text for text in server.texts("local") + server.texts("smtp")) == 6, what="six deliveries")
    return {"received": 5, "delivered": 6, "deferred": 1, "bounced": 1, "rejected": 4, "senders": 3, "recipients": 4}


def open_server(sink):
    return TextServer(relayhost=f"[127.0.0.1]:{sink.port}", networks=["127.0.0.1"], logging=TEXT, aliases={"postmaster": "alice", "info": "bob"},
                      queue={"retry": {"minimum": "1h", "maximum": "1h"}})


@test("pflogsumm's figures are those of the traffic")
def _():
    with Sink(answers) as sink, open_server(sink) as server:
        want = traffic(server)
        sizes = {m[1]: int(m[2]) for text in server.texts("qmgr") for m in [re.match(r"(\w+): from=<.*>, size=(\d+), ", text)] if m}
        reports = {m[1] for text in server.texts("bounce") for m in [re.match(r"\w+: sender non-delivery notification: (\w+)", text)] if m}
        delivered = [text.split(":")[0] for program in ("local", "smtp") for text in server.texts(program) if "status=sent" in text]
        done = run("pflogsumm", "--smtpd-stats", "--iso-date-time", server.log_path)
        assert done.returncode == 0, done.out
        found = {name: int(number) * {"": 1, "k": 1024, "m": 1 << 20}[unit] for number, unit, name in
                 re.findall(r"^ +(\d+)([km]?) +([a-z][a-z/ ]+?)(?: +\(.*\))?$", done.out.split("Per-")[0], re.M)}
        assert {name: found[name] for name in want} == want, f"{found}\n{done.out}"
        assert found["bytes received"] == sum(size for name, size in sizes.items() if name not in reports), (found, sizes)
        assert found["bytes delivered"] == sum(sizes[name] for name in delivered), (found, sizes)
        assert found["connections"] == 7 and found["reject warnings"] == found["held"] == 0, found
        tables = {title: dict(reversed(pair) for pair in re.findall(r"^ +(\d+) +(\S+)$", body, re.M))
                  for title, body in re.findall(r"^(.+)\n-{5,}\n((?:.+\n)*)", done.out, re.M)}
        assert tables["Senders by message count"] == {"alice@example.org": "2", "sender@example.net": "2", "other@example.net": "1"}, done.out
        assert tables["Recipients by message count"] == {
            "alice@example.org": "2", "bob@example.org": "1", "carol@example.org": "1", "good@elsewhere.example": "2"}, done.out
        # The table of reasons: by kind, by what was said, with how often.
        assert re.search(r"^ +3 +nobody@example\.org$", done.out, re.M) and "Relay access denied" in done.out and "no such user" in done.out and "not now" in done.out, done.out
        for heading in ("Warnings", "Fatal Errors", "Panics"):
            assert re.search(rf"^{heading}: none$|^{heading}\n-+\n +none", done.out, re.M), done.out


@test("fail2ban's filter matches the rejects and whoever makes too many errors, and no other line")
def _():
    with Sink(answers) as sink, open_server(sink) as server:
        traffic(server)
        with Dialogue(server.port, source="127.0.0.4") as client:
            client.expect("EHLO bad.example.net", "250")
            while client.ask("NONSENSE").startswith("500"):
                pass
        with Dialogue(server.port, source="127.0.0.5") as client:
            client.envelope()
        server.wait_line("smtpd", r"lost connection after RCPT from unknown\[127\.0\.0\.5\]")
        server.wait_line("smtpd", r"too many errors after UNKNOWN from unknown\[127\.0\.0\.4\]")
        for mode, wanted in [("more", "reject: |too many errors after "), ("aggressive", "reject: |too many errors after |lost connection after ")]:
            done = run("fail2ban-regex", "-o", "row", server.log_path, f"postfix[mode={mode}]")
            hosts = re.findall(r"^\['([\d.]+)',", done.out, re.M)
            want = [re.search(r"\[([\d.]+)\]", text)[1] for _, _, text in server.lines() if re.search(f"^(?:NOQUEUE: )?(?:{wanted})", text)]
            assert hosts == want and len(want) >= 5, f"{mode}: {hosts}, not {want}\n{done.out}"


@test("the lines of a message, from the connection to its end, in Postfix's words")
def _():
    with Sink(answers) as sink, open_server(sink) as server:
        queue_id = server.send(message("story", ident="<story@example.net>"), ["info@example.org"])
        server.wait_line("qmgr", f"{queue_id}: removed")
        server.wait_line("smtpd", r"disconnect from localhost\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5")
        size = server.wait_line("qmgr", rf"{queue_id}: from=<sender@example\.net>, size=(\d+), nrcpt=1 \(queue active\)")[1]
        session = next(process for program, process, text in server.lines() if text == "connect from localhost[127.0.0.1]")
        delay = r"\d+(?:\.\d{1,2})?"
        story = [
            ("smtpd", "connect from localhost\\[127\\.0\\.0\\.1\\]"),
            ("smtpd", f"{queue_id}: client=localhost\\[127\\.0\\.0\\.1\\]"),
            ("cleanup", f"{queue_id}: message-id=<story@example\\.net>"),
            ("qmgr", f"{queue_id}: from=<sender@example\\.net>, size={size}, nrcpt=1 \\(queue active\\)"),
            ("local", f"{queue_id}: to=<bob@example\\.org>, orig_to=<info@example\\.org>, relay=local, delay={delay}, delays={delay}/0/0/{delay}, dsn=2\\.0\\.0, "
                      "status=sent \\(delivered to maildir\\)"),
            ("qmgr", f"{queue_id}: removed"),
        ]
        lines = [(program, text) for program, _, text in server.lines() if program != "master" and not text.startswith("disconnect")]
        assert len(lines) == len(story) and all(program == want and re.fullmatch(pattern, text) for (program, text), (want, pattern) in zip(lines, story)), lines
        assert all(process == session for program, process, _ in server.lines() if program == "smtpd")


@test("refusals, bounces, local programs, administrators: each in Postfix's words; a peer begins no line and ends none")
def _():
    with Sink(answers) as sink, open_server(sink) as server:
        refused(server, [("RCPT TO:<nobody@example.org>", "550 5.1.1")])
        server.wait_line("smtpd", r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.2\]: 550 5\.1\.1 <nobody@example\.org>: Recipient address rejected: User unknown in "
                                  r"local recipient table; from=<spam@example\.net> to=<nobody@example\.org> proto=ESMTP helo=<bad\.example\.net>")
        queue_id = server.send(message("comes back"), ["never@elsewhere.example"], sender="alice@example.org")
        server.wait_line("smtp", rf"{queue_id}: to=<never@elsewhere\.example>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:{sink.port}, delay=.*, dsn=5\.1\.1, status=bounced "
                                 r"\(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 no such user \(in reply to RCPT TO command\)\)")
        report = server.wait_line("bounce", rf"{queue_id}: sender non-delivery notification: (\w+)")[1]
        server.wait_line("cleanup", rf"{report}: message-id=<{report}@mx\.example\.org>")
        server.wait_line("local", rf"{report}: to=<alice@example\.org>, relay=local, .*status=sent \(delivered to maildir\)")
        server.wait_line("qmgr", f"{report}: removed")
        assert server.called("sendmail", "-f", "alice", "later@elsewhere.example", input="Subject: x\n\nhi\n").returncode == 0
        waits = server.wait_line("pickup", r"(\w+): uid=\d+ from=<alice@example\.org>")[1]
        server.wait_line("smtp", rf"{waits}: to=<later@elsewhere\.example>, .*status=deferred \(host .* said: 450 4\.2\.1 not now \(in reply to RCPT TO command\)\)")
        wait_for(lambda: "(" in server.called("mailq").out, what="the reason in the queue")
        server.called("postsuper", "-h", waits)
        server.called("postsuper", "-H", "ALL")
        server.called("postsuper", "-d", waits)
        for text in (f"{waits}: placed on hold", "Released from hold: 1 message", f"{waits}: removed"):
            server.wait_line("postsuper", text)
        with Dialogue(server.port) as client:
            client.write(b"EHLO a\x01b\r\nEHLO x\tNov\r\nEHLO [1.2.3.4]:_NOQUEUE:_reject:\r\nMAIL FROM:<\"a b\"@example.net>\r\nRCPT TO:<\"x> y\\\\z\"@example.org>\r\nGET / HTTP/1.1\r\n")
            client.rest()
        server.wait_line("smtpd", r"warning: non-SMTP command from localhost\[127\.0\.0\.1\]: GET / HTTP/1\.1")
        server.wait_line("smtpd", r"disconnect from localhost\[127\.0\.0\.1\] .*")
        server.lines()  # each is a line of ours


@test("sessions that end without QUIT: where the client went, as Postfix says it")
def _():
    with Sink(answers) as sink, open_server(sink) as server:
        hello = b"EHLO c.example.net\r\n"
        begun = hello + b"MAIL FROM:<a@example.net>\r\nRCPT TO:<alice@example.org>\r\n"
        for written, replies, after, counts in [
            (b"", 0, "CONNECT", "commands=0/0"), (hello, 1, "EHLO", "ehlo=1 commands=1"), (begun, 3, "RCPT", "ehlo=1 mail=1 rcpt=1 commands=3"),
            (begun + b"DATA\r\n", 4, r"DATA \(0 bytes\)", "ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4"),
            (begun + b"BDAT 5\r\nhello", 4, r"BDAT \(5 bytes\)", "ehlo=1 mail=1 rcpt=1 bdat=1 commands=4"),
            (begun + b"RSET\r\nRCPT TO:<a@b>\r\n", 5, "RCPT", "ehlo=1 mail=1 rcpt=1/2 rset=1 commands=4/5"),
        ]:
            seen = len(server.texts("smtpd"))
            with Dialogue(server.port) as client:
                client.write(written)
                for _ in range(replies):
                    assert client.reply()
            wait_for(lambda: len(server.texts("smtpd")) >= seen + 3, what=f"the end after {after}\n{server.texts('smtpd')}")
            lost, closed = server.texts("smtpd")[-2:]
            assert re.fullmatch(rf"lost connection after {after} from (localhost|unknown)\[127\.0\.0\.1\]", lost), (lost, after)
            # Whoever is gone before the name was found has none.
            assert closed in [f"disconnect from {name}[127.0.0.1] {counts}" for name in ("localhost", "unknown")], (closed, counts)


@test("a recipient given up after its lifetime: deferred, expired, and the notification to the sender")
def _():
    with TextServer(relayhost=f"[127.0.0.1]:{free_port()}", logging=TEXT, queue={"retry": {"minimum": "1s", "maximum": "1s"}, "lifetime": "2s"}) as server:
        queue_id = server.send(message("too old"), ["x@elsewhere.example"], sender="alice@example.org")
        server.wait_line("qmgr", f"{queue_id}: from=<alice@example\\.org>, status=expired, returned to sender", timeout=20)
        server.wait_line("bounce", f"{queue_id}: sender non-delivery notification: \\w+")
        server.wait_line("qmgr", f"{queue_id}: removed")
        assert all("status=deferred (connect to 127.0.0.1[127.0.0.1]:" in text for text in server.texts("smtp")), server.texts("smtp")


def play(port):
    """The same for both: accepted, deferred and refused by the next hop, refused here, gone without QUIT, too many errors."""
    for recipients in (["good@elsewhere.example"], ["later@elsewhere.example"], ["never@elsewhere.example", "good@elsewhere.example"]):
        with Dialogue(port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<sender@elsewhere.example>", "250")
            for recipient in recipients:
                client.expect(f"RCPT TO:<{recipient}>", "250")
            client.expect("DATA", "354")
            client.write(message("x", ident="<same@example.net>") + b".\r\n")
            assert client.reply().startswith("250")
            client.expect("QUIT", "221")
    with Dialogue(port, source="127.0.0.2") as client:
        for command, prefix in [("HELO bad.example.net", "250"), ("MAIL FROM:<>", "250"), ("RCPT TO:<nobody@example.org>", "550"), ("RCPT TO:<x@third.example>", "554"), ("VRFY nobody@example.org", "550"),
                                ("RSET", "250"), ("NOOP", "250"), ("QUIT", "221")]:
            client.expect(command, prefix)
    with Dialogue(port) as client:
        client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<sender@elsewhere.example> SIZE=999999999", "552")
        client.expect("QUIT", "221")
    hello, mail = "EHLO c.example.net", ["MAIL FROM:<>", "RCPT TO:<good@elsewhere.example>"]
    for commands in ([], [hello], [hello, *mail], [hello, *mail, "RSET"], [hello, "GET / HTTP/1.0"]):
        with Dialogue(port) as client:
            for command in commands:
                client.ask(command)
    with Dialogue(port) as client:
        client.expect("EHLO c.example.net", "250")
        while client.ask("NONSENSE").startswith("5"):
            pass


def comparable(lines):
    """Sorted, without what two servers cannot have in common: ids, sizes, delays, the processes."""
    found = []
    for program, _, text in lines:
        text = re.sub(r"\b(?:[0-9A-F]{13}|[0-9A-Za-z]{15,16})\b(?=: |$|@mx)", "ID", text)
        text = re.sub(r"<\d{14}\.ID@", "<ID@", text)
        text = re.sub(r"size=\d+", "size=N", text)
        text = re.sub(r"delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+", "delay=D, delays=D", text)
        found.append(f"{program}: {text}")
    return sorted(found)


@test("the log of the same dialogues is that of Debian's Postfix, line for line, but for what docs/operations.md says")
def _():
    with Sink(answers) as sink:
        keys = dict(relayhost=f"[127.0.0.1]:{sink.port}", networks=["127.0.0.1"], logging=TEXT, queue={"retry": {"minimum": "1h", "maximum": "1h"}},
                    smtpd={"lookup_names": False})
        twin = Server(start=False, **keys)
        done = run(BINARY, "render", twin.manifest_path, "-o", twin.directory / "etc")
        assert done.returncode == 0, done.out
        main = twin.directory / "etc" / "main.cf"
        # The kit sets it by itself.
        main.write_text(main.read_text().replace("smtpd_peername_lookup = no\n", ""))
        with open(main, "a") as file:
            file.write("enable_long_queue_ids = yes\nsmtpd_error_sleep_time = 0\n")
        with Postfix(twin.directory / "etc", twin.directory / "pf", twin.port) as postfix, TextServer(**keys) as server:
            # Whoever waited until it listened has been there.
            wait_for(lambda: "disconnect from" in postfix.log(), what="the end of the probe")
            start = len(postfix.log())
            for port in (twin.port, server.port):
                play(port)

            def theirs():
                return [LINE.fullmatch(line).groups()[1:] for line in postfix.log()[start:].splitlines()]

            # good twice, and the notification; two of the three messages and the notification are done with
            for lines in (server.lines, theirs):
                wait_for(lambda: sum("status=sent" in text for _, _, text in lines()) == 3 and sum(text.endswith(": removed") for _, _, text in lines()) == 3
                         and any("after NONSENSE" in text or "after UNKNOWN" in text for _, _, text in lines()), 30, "all of the traffic")
        ours = comparable(line for line in server.lines() if line[0] != "master")
        theirs = comparable(line for line in theirs() if line[0] not in ("master", "postfix-script"))
        # Postfix has a queue id from the first recipient on: two sessions went away then, and no message came.
        only_theirs, only_ours = Counter(theirs) - Counter(ours), Counter(ours) - Counter(theirs)
        assert not only_ours and only_theirs == {"smtpd: ID: client=unknown[127.0.0.1]": 2}, f"ours {only_ours}\ntheirs {only_theirs}"
