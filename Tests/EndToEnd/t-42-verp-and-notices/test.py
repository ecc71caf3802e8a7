"""Reports that reach somebody and never storm: VERP, double bounces, notices for the postmaster, backscatter."""

import subprocess

from kit import *
from kit.reports import Report


def refuse(command, address):
    return "550 5.1.1 no such user" if command == "RCPT" and address.startswith("gone") else None


LIST = {"address_extension": "+", "aliases": {"postmaster": "alice", "owner-list": "bob"}}


@test("XVERP: each recipient gets the list's mail from a sender that names it, and a report names whom it is about")
def _():
    with Sink(refuse) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", **LIST) as server:
        server.send(message("to the list"), ["a@one.example", "gone@two.example", "gone.b@one.example", "carol@example.org"],
                    sender="owner-list@example.org", mail_options=["XVERP"])
        letters = server.wait_mail("bob", 2)
        assert sorted(entry[0] for entry in sink.messages) == ["owner-list+a=one.example@example.org"], sink.messages
        assert sorted(letter["X-Original-To"] for letter in letters) == ["owner-list+gone.b=one.example@example.org", "owner-list+gone=two.example@example.org"]
        assert sorted(r for letter in letters for r in Report(letter).actions) == ["gone.b@one.example", "gone@two.example"]
        assert all(len(Report(letter).actions) == 1 for letter in letters)
        [letter] = server.wait_mail("carol", 1)
        assert letter["Return-Path"] == "<owner-list+carol=example.org@example.org>", letter["Return-Path"]
        server.wait_queue_empty()


@test("the delimiters are the manifest's, or the client's; wrong ones, the null sender and strangers are refused")
def _():
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", reports={"verp_delimiters": "-="}, **LIST) as server:
        for option in ("XVERP", "XVERP=+="):
            server.send(message("x"), ["a@one.example"], sender="owner-list@example.org", mail_options=[option])
        wait_for(lambda: len(sink.messages) == 2, what="two messages")
        assert sorted(entry[0] for entry in sink.messages) == ["owner-list+a=one.example@example.org", "owner-list-a=one.example@example.org"]
        with Dialogue(server.port) as client:
            assert "XVERP" in [line[4:] for line in client.expect("EHLO client.example.net", "250").split("\n")]
            client.expect("MAIL FROM:<owner-list@example.org> XVERP=ab", "501 5.5.4")
            client.expect("MAIL FROM:<owner-list@example.org> XVERP XVERP", "501 5.5.4")
            client.expect("MAIL FROM:<> XVERP", "503 5.5.4")
    with Server(networks=["192.0.2.0/24"], **LIST) as server, Dialogue(server.port) as client:
        assert "XVERP" not in client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<owner-list@example.org> XVERP", "555 5.5.4")
    # A proxy that speaks for a stranger has no more rights than that one.
    with Server(networks=["127.0.0.1"], smtpd={"xclient": ["127.0.0.1"]}, **LIST) as server, Dialogue(server.port) as client:
        assert "XVERP" in client.expect("EHLO proxy.example.net", "250")
        client.expect("XCLIENT ADDR=203.0.113.9 NAME=[UNAVAILABLE]", "220")
        assert "XVERP" not in client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<owner-list@example.org> XVERP", "555 5.5.4")


@test("sendmail -XV, over a restart: the queue keeps what was asked for")
def _():
    port = free_port()
    with Server(relayhost=f"[127.0.0.1]:{port}", **LIST) as server:
        done = server.called("sendmail", "-XV", "-f", "owner-list@example.org", "a@one.example", "b@one.example", input="Subject: x\n\ntext\n")
        assert done.returncode == 0, done.out
        done = server.called("sendmail", "-XV-=", "-f", "owner-list@example.org", "c@one.example", input="Subject: x\n\ntext\n")
        assert done.returncode == 0, done.out
        assert server.called("sendmail", "-XVxy", "-f", "owner-list@example.org", "c@one.example", input="x\n").returncode == 64
        server.wait_event("delivery.deferred", count=3)
        server.stop()
        with Sink(port=port) as sink:
            server.start()
            wait_for(lambda: len(sink.messages) == 3, what="three messages")
            assert sorted((entry[0], *entry[1]) for entry in sink.messages) == [
                ("owner-list+a=one.example@example.org", "a@one.example"), ("owner-list+b=one.example@example.org", "b@one.example"),
                ("owner-list-c=one.example@example.org", "c@one.example")]
        server.wait_queue_empty()


@test("a report that cannot be delivered is dropped, or goes to double_bounce_notice once; nothing answers that one")
def _():
    with Sink(lambda command, _: "550 5.7.1 nobody here" if command == "RCPT" else None) as sink:
        relay = f"[127.0.0.1]:{sink.port}"
        with Server(relayhost=relay) as server:
            server.send(message("x"), ["gone@one.example"], sender="forged@victim.example")
            dropped = server.wait_event("bounce.dropped")
            assert "null sender" in dropped["reason"], dropped
            server.wait_queue_empty()
            assert not server.letters("alice")
        with Server(relayhost=relay, reports={"double_bounce_notice": "postmaster"}) as server:
            server.send(message("twice"), ["gone@one.example"], sender="forged@victim.example")
            [letter] = server.wait_mail("alice", 1)
            report = Report(letter)
            assert report.mail["Subject"] == "Postmaster Copy: Undelivered Mail" and report.actions == {"forged@victim.example": "failed"}, report.actions
            assert "twice" in report.returned.as_string(), "the report that failed is in it"
            server.wait_queue_empty()
        with Server(relayhost=relay, reports={"double_bounce_notice": "boss@elsewhere.example", "bounce_notice": "boss@elsewhere.example"}) as server:
            server.send(message("thrice"), ["gone@one.example"], sender="forged@victim.example")
            server.wait_queue_empty()
            # Of four messages - the mail, its report, two notices - none is left, and none had an answer of its own.
            assert len(server.events("bounce.queued")) == 3 and len(server.events("bounce.dropped")) == 2, server.events("bounce.queued")


@test("a sender of ours that does not exist gets no report: it goes to double_bounce_notice, or is dropped")
def _():
    with Sink(refuse) as sink:
        for reports, letters in (({}, 0), ({"double_bounce_notice": "alice"}, 1)):
            with Server(relayhost=f"[127.0.0.1]:{sink.port}", reports=reports) as server:
                server.send(message("x"), ["gone@one.example"], sender="nobody@example.org")
                if letters:
                    server.wait_mail("alice", letters)
                else:
                    server.wait_event("bounce.dropped")
                server.wait_queue_empty()
                assert len(server.letters("alice")) == letters


@test("bounce_notice: the postmaster gets a copy with the header, the sender the whole")
def _():
    with Sink(refuse) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", reports={"bounce_notice": "carol@example.org"}) as server:
        server.send(message("x"), ["gone@one.example", "fine@one.example"], sender="bob@example.org")
        [letter] = server.wait_mail("bob", 1)
        assert Report(letter).returned.get_content_type() == "message/rfc822"
        [letter] = server.wait_mail("carol", 1)
        copy = Report(letter)
        assert copy.returned.get_content_type() == "text/rfc822-headers" and copy.actions == {"gone@one.example": "failed"}
        assert "bob@example.org" in copy.text
        server.wait_queue_empty()


@test("no backscatter: what is refused at the door brings no report, and neither do the null sender and NOTIFY=NEVER")
def _():
    with Sink(refuse) as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}") as server:
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org>", "250")
            client.expect("RCPT TO:<nobody@example.org>", "550 5.1.1")
        server.send(message("x"), ["gone@one.example"], sender="")
        server.send(message("x"), ["gone@one.example"], sender="alice@example.org", rcpt_options=["NOTIFY=NEVER"])
        server.wait_event("delivery.bounced", count=2)
        server.wait_queue_empty()
        assert not server.letters("alice") and not server.events("bounce.queued")


@test("check: a notice to nobody is an error, and so are delimiters that VERP does not have")
def _():
    for reports, said in (({"bounce_notice": "nobody"}, "leads nowhere"), ({"verp_delimiters": "ab"}, "no delimiters"), ({"returned_size": "1GiB"}, "more than a report may return")):
        server = Server(start=False, reports=reports)
        done = server.valija("check", server.manifest_path)
        assert done.returncode == 1 and said in done.out, done.out


@test("rendered for Postfix and imported from it, reports are the same again")
def _():
    reports = {"delay_warning": "4h", "returned_size": 20000, "verp_delimiters": "-=", "bounce_notice": "postmaster", "double_bounce_notice": "bob@example.org", "delay_notice": "carol"}
    server = Server(start=False, reports=reports)
    etc = server.directory / "etc"
    assert server.valija("render", server.manifest_path, "-o", etc).returncode == 0
    names = ["delay_warning_time", "bounce_size_limit", "default_verp_delimiters", "notify_classes", "bounce_notice_recipient", "2bounce_notice_recipient", "delay_notice_recipient"]
    done = run("postconf", "-c", etc, *names)
    assert done.out.splitlines() == ["delay_warning_time = 4h", "bounce_size_limit = 20000", "default_verp_delimiters = -=",
                                     "notify_classes = resource, software, bounce, 2bounce, delay", "bounce_notice_recipient = postmaster",
                                     "2bounce_notice_recipient = bob@example.org", "delay_notice_recipient = carol"], done.out
    done = subprocess.run([BINARY, "import", etc], capture_output=True, text=True)
    section = done.stdout.partition("\nreports:\n")[2].partition("\n\n")[0]
    for line in ("delay_warning: 4h", "verp_delimiters: \"-=\"", "bounce_notice: postmaster", "double_bounce_notice: bob@example.org", "delay_notice: carol"):
        assert line in section, f"{line} is not in\n{section}\n{done.stderr}"
