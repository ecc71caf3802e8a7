"""Debian's Exim as the next hop and as the sender: by BDAT and pipelined, by STARTTLS from its GnuTLS and to it, with DSN, SMTPUTF8 and SIZE,
callouts, cut-through delivery, and LMTP."""

import email
import re
import smtplib

from kit import *
from kit.certificates import Authority
from kit.exim import ACCOUNT, Exim
from kit.reports import Report

HERE, OTHER = Authority(SCRATCH / "authority"), Authority(SCRATCH / "other")
OUT = "exim.example.net"  # the domain that Exim has
EIGHT_BIT = ("Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
             "Grüße\r\n.\r\n..\r\n").encode()


# Exim as the next hop

USERS = "dave : erin : jürgen"


def next_hop(server, acl="", main=""):
    """An Exim with Maildirs for its users, which hands the rest, reports among it, to the server."""
    exim = Exim(acl=acl, main=main, certificate=HERE.issue("exim.example.net"), routers=f"""
ours:
  driver = accept
  domains = {OUT}
  local_parts = {USERS}
  transport = maildir
back:
  driver = manualroute
  domains = example.org
  route_list = * 127.0.0.1
  self = send
  transport = to_valija
""", transports=f"""
maildir:
  driver = appendfile
  maildir_format
  directory = @MAIL@/$local_part_data
  create_directory
  user = {ACCOUNT}
  group = {ACCOUNT}
  delivery_date_add
  envelope_to_add
  return_path_add
to_valija:
  driver = smtp
  port = {server.port}
  allow_localhost
""")
    return exim


def pair(acl="", main="", **keys):
    """(server, Exim), each the other's next hop; neither is started."""
    server = Server(start=False, **keys)
    exim = next_hop(server, acl, main)
    with open(server.manifest_path, "a") as file:
        file.write(f'relayhost: "[127.0.0.1]:{exim.port}"\n')
    return server, exim


def body_of(octets):
    return octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


@test("mail goes to Exim by BDAT: small and large, several recipients at once, every octet as it was, dots among them")
def _():
    server, exim = pair()
    with exim, server.start():
        sent = [message("small", ".\r\n..\r\n.\r\nBDAT 3 LAST\r\n"), message("large", "0123456789\r\n.\r\n" * 40_000), EIGHT_BIT]
        for data in sent:
            queue_id = server.send(data, [f"dave@{OUT}", f"erin@{OUT}"], sender="alice@example.org")
            events = server.wait_event("delivery.sent", queue_id=queue_id, count=2)
            assert {event["to"] for event in events} == {f"dave@{OUT}", f"erin@{OUT}"}, events
            assert all("OK id=" in event["reply"] for event in events), events
        exim.wait_queue_empty()
        for user in "dave", "erin":
            assert sorted(body_of(letter) for letter in exim.letters(user)) == sorted(body_of(data) for data in sent), user
        taken = exim.wait_log("<= alice@example.org", count=3)
        # K is CHUNKING, by which small messages go in one round trip; L is pipelining.
        assert sum(" K " in line for line in taken) == 2 and all(re.search(r" L[.-]* ", line) for line in taken), taken
        server.wait_queue_empty()


@test("what Exim refuses of several recipients comes back with its words, what it defers is tried again, and nobody gets two copies")
def _():
    acl = """
acl_rcpt_of_test:
  deny    local_parts = nobody
          message     = no such user here
  defer   local_parts = erin
          condition   = ${if !exists{@MAIL@/open}}
          message     = come back later
  accept
"""
    server, exim = pair(acl, "acl_smtp_rcpt = acl_rcpt_of_test")
    with exim, server.start():
        sent = message("three")
        queue_id = server.send(sent, [f"dave@{OUT}", f"nobody@{OUT}", f"erin@{OUT}"], sender="alice@example.org")
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["to"] == f"erin@{OUT}" and deferred["reply"] == "451 come back later" and deferred["command"] == "RCPT TO", deferred
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["to"] == f"nobody@{OUT}" and bounced["reply"] == "550 no such user here", bounced
        [letter] = server.wait_mail("alice", 1)
        fields = Report(letter).recipients[f"nobody@{OUT}"]
        assert fields["Diagnostic-Code"] == "smtp; 550 no such user here" and fields["Status"] == "5.0.0", dict(fields)
        (exim.mail / "open").touch()
        server.wait_queue_empty()
        exim.wait_queue_empty()
        for user in "dave", "erin":
            assert [body_of(data) for data in exim.letters(user)] == [body_of(sent)], user


@test("Exim defers or refuses the content, the sender, the whole session: all is deferred, or comes back")
def _():
    acl = """
acl_data_of_test:
  defer   condition = ${if and{{match{$h_subject:}{later}}{!exists{@MAIL@/open}}}}
          message   = content scanner is away
  deny    condition = ${if match{$h_subject:}{never}}
          message   = content is not wanted
  accept
acl_mail_of_test:
  deny    senders   = bob@example.org
          message   = not from you
  accept
acl_connect_of_test:
  defer   condition = ${if !exists{@MAIL@/door}}
          message   = house is closed
  accept
"""
    server, exim = pair(acl, "acl_smtp_data = acl_data_of_test\nacl_smtp_mail = acl_mail_of_test\nacl_smtp_connect = acl_connect_of_test")
    with exim, server.start():
        later = server.send(message("later"), [f"dave@{OUT}", f"erin@{OUT}"], sender="alice@example.org")
        deferred = server.wait_event("delivery.deferred", queue_id=later, count=2)
        assert all("451 house is closed" in event["reply"] for event in deferred[:2]), deferred
        (exim.mail / "door").touch()
        wait_for(lambda: any("451 content scanner is away" in event["reply"] for event in server.events("delivery.deferred", queue_id=later)), 30, "the content deferred")
        (exim.mail / "open").touch()
        server.wait_queue_empty()
        never = server.send(message("never"), [f"dave@{OUT}"], sender="alice@example.org")
        assert server.wait_event("delivery.bounced", queue_id=never)["reply"] == "550 content is not wanted"
        mine = server.send(message("mine"), [f"dave@{OUT}"], sender="bob@example.org")
        assert server.wait_event("delivery.bounced", queue_id=mine)["reply"] == "550 not from you"
        server.wait_mail("alice", 1)
        server.wait_mail("bob", 1)
        exim.wait_queue_empty()
        assert len(exim.letters("dave")) == len(exim.letters("erin")) == 1


@test("Exim announces SIZE: what is larger comes back untried")
def _():
    server, exim = pair(main="message_size_limit = 20000")
    with exim, server.start():
        queue_id = server.send(message("large", "0123456789\r\n" * 4000), [f"dave@{OUT}"], sender="alice@example.org")
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["dsn"] == "5.3.4" or bounced["reply"].startswith("552"), bounced
        server.wait_event("delivery.sent", queue_id=server.send(message("small"), [f"dave@{OUT}"]))


@test("internationalized addresses pass to Exim with SMTPUTF8; without it they come back with 5.6.7")
def _():
    server, exim = pair()
    with exim, server.start():
        with server.smtp() as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            sent = message("Grüße", sender="отправитель@example.net", to=f"jürgen@{OUT}")
            queue_id = server.send_over(client, sent, [f"jürgen@{OUT}"], "отправитель@example.net", ["SMTPUTF8", "BODY=8BITMIME"])
        server.wait_event("delivery.sent", queue_id=queue_id)
        exim.wait_queue_empty()
        [letter] = exim.letters("jürgen")
        assert "Return-path: <отправитель@example.net>".encode() in letter and body_of(letter) == body_of(sent), letter
        assert "P=utf8esmtp" in exim.wait_log("<= "), exim.log()
    server, exim = pair(main="smtputf8_advertise_hosts =")
    with exim, server.start(), server.smtp() as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        queue_id = server.send_over(client, message("Grüße"), [f"jürgen@{OUT}"], "alice@example.org", ["SMTPUTF8", "BODY=8BITMIME"])
        assert server.wait_event("delivery.bounced", queue_id=queue_id)["dsn"] == "5.6.7"


@test("Exim reports success itself where NOTIFY asks for it, with the sender's ENVID and ORCPT, and keeps quiet at NOTIFY=NEVER")
def _():
    server, exim = pair()
    with exim, server.start():
        server.send(message("asked"), [f"dave@{OUT}"], sender="alice@example.org", mail_options=["RET=HDRS", "ENVID=QQ314159"],
                    rcpt_options=[f"NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;David@{OUT}"])
        [letter] = server.wait_mail("alice", 1, timeout=25)
        assert b"QQ314159" in letter.data and b"Action: delivered" in letter.data and f"David@{OUT}".encode() in letter.data, letter.data
        server.wait_queue_empty()
        assert not server.events("report.queued"), "we report nothing that Exim reports"
        # Exim finds out only after it has taken it that nobody has this name: its own report, or none.
        server.send(message("never"), [f"stranger@{OUT}"], sender="bob@example.org", rcpt_options=["NOTIFY=NEVER"])
        server.send(message("failure"), [f"stranger@{OUT}"], sender="carol@example.org", rcpt_options=["NOTIFY=FAILURE"])
        [letter] = server.wait_mail("carol", 1, timeout=25)
        assert b"Action: failed" in letter.data, letter.data
        exim.wait_queue_empty()
        server.wait_queue_empty()
        assert not server.letters("bob")


@test("BINARYMIME, which Exim does not know, reaches it as base64")
def _():
    server, exim = pair()
    binary = b"Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\1\r\n\r\xff\n.\r\n"
    with exim, server.start():
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<alice@example.org> BODY=BINARYMIME", "250")
            client.expect(f"RCPT TO:<dave@{OUT}>", "250")
            client.write(f"BDAT {len(binary)} LAST\r\n".encode() + binary)
            reply = client.reply()
            assert reply.startswith("250"), reply
            queue_id = reply.rsplit(" ", 1)[1]
        server.wait_queue_empty()
        server.wait_event("delivery.sent", queue_id=queue_id)
        [letter] = exim.letters("dave")
        assert email.message_from_bytes(letter).get_payload(decode=True) == b"\0\1\r\n\r\xff\n.\r\n", letter


def outgoing(exim, level, authority=HERE):
    """`tls.outgoing` for mail to this Exim, as a line of a manifest."""
    rule = "{level: verify, names: [exim.example.net]}" if level == "verify" else level
    return f'tls: {{outgoing: {{level: none, trust_store: {authority.certificate}, destinations: {{"[127.0.0.1]:{exim.port}": {rule}}}}}}}\n'


def standard_name(cipher):
    """Of a cipher by OpenSSL's name: IANA's, which those of TLS 1.3 have anyway."""
    if cipher.startswith("TLS_"):
        return cipher
    return [line for line in run("openssl", "ciphers", "-stdname", cipher).out.splitlines() if f" {cipher} " in line][0].split()[0]


@test("mail goes to Exim's GnuTLS in TLS 1.3 and 1.2: our log, its log and its Received say the same version and cipher", limit=90)
def _():
    for priority, version in (("NORMAL", "TLSv1.3"), ("NORMAL:-VERS-TLS1.3", "TLSv1.2")):
        for level in "may", "encrypt", "verify":
            server, exim = pair(main=f"tls_require_ciphers = {priority}")
            with open(server.manifest_path, "a") as file:
                file.write(outgoing(exim, level))
            with exim, server.start():
                sent = message("in TLS", ".\r\n..\r\nx\r\n" * 20_000)
                queue_id = server.send(sent, [f"dave@{OUT}"], sender="alice@example.org")
                tls = server.wait_event("delivery.sent", queue_id=queue_id)["tls"]
                assert tls["version"] == version and tls["verification"] == ("verified" if level == "verify" else "none"), (level, tls)
                exim.wait_queue_empty()
                # Exim writes TLS1.3:ECDHE_X25519__ECDSA_SECP256R1_SHA256__AES_256_GCM:256 in its log.
                found = re.search(r" P=esmtps .*\bX=(TLS1\.\d):\w+__(\w+):\d+ ", exim.wait_log("<= alice@example.org"))
                assert found and found[1].replace("TLS", "TLSv") == version and f"_{found[2]}_" in standard_name(tls["cipher"]), (tls, exim.log())
                [letter] = exim.letters("dave")
                assert body_of(letter) == body_of(sent)
                received = " ".join(email.message_from_bytes(letter).get_all("Received")[0].split())
                told = re.search(r" with esmtps \((TLS1\.\d)\) tls (TLS_\w+) ", received)
                # In TLS 1.3, whose ciphers have no key exchange in their names, Exim with GnuTLS names one of TLS 1.2 with the same encryption.
                end = tls["cipher"].partition("TLS_")[2] or standard_name(tls["cipher"])
                assert told and told[1] == found[1] and told[2].endswith(end), (tls, received)


@test("Exim's certificate has to be of an authority of ours at verify: with another trust store the mail waits, and goes when it is the right one")
def _():
    server, exim = pair()
    text = server.manifest_path.read_text()
    server.manifest_path.write_text(text + outgoing(exim, "verify", OTHER))
    with exim, server.start():
        queue_id = server.send(message("to be verified"), [f"dave@{OUT}"], sender="alice@example.org")
        deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
        assert deferred["dsn"] == "4.7.5" and "self-signed certificate in certificate chain" in deferred["reply"], deferred
        assert "<= " not in exim.log(), exim.log()
        # Another name than the certificate's is no better.
        for names, is_right in (("[mx.example.com]", False), ("[exim.example.net]", True)):
            server.manifest_path.write_text(text + outgoing(exim, "verify").replace("[exim.example.net]", names))
            done = server.valija("reload")
            assert done.returncode == 0, done.out
            if not is_right:
                wait_for(lambda: any("ostname mismatch" in event["reply"] for event in server.events("delivery.deferred", queue_id=queue_id)), 20, "the wrong name")
        assert server.wait_event("delivery.sent", queue_id=queue_id)["tls"]["verification"] == "verified"
        exim.wait_queue_empty()
        assert len(exim.letters("dave")) == 1


# Exim as the sender

def sender(server, transport="", acl="", main="", router="", port=None):
    """An Exim whose every message goes to the server."""
    return Exim(acl=acl, main=main, routers=f"""
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = to_valija
{router}
""", transports=f"""
to_valija:
  driver = smtp
  port = {port or server.port}
  allow_localhost
{transport}
""")


def through(exim, data, to, sender="someone@elsewhere.example", mail_options=(), rcpt_options=(), encoding="ascii"):
    """Hands the message to Exim by SMTP; the replies to RCPT."""
    with smtplib.SMTP("127.0.0.1", exim.port, "client.example.net", 30) as client:
        client.command_encoding = encoding
        client.ehlo()
        assert client.mail(sender, mail_options)[0] == 250
        replies = [client.rcpt(recipient, rcpt_options) for recipient in to]
        if any(code == 250 for code, _ in replies):
            code, text = client.data(data)
            assert code == 250, (code, text)
        return replies


@test("Exim's GnuTLS speaks TLS 1.3 and 1.2 with us, verifies our certificate, and sends by BDAT; the message is what it was")
def _():
    for priority, version in (("NORMAL", "TLSv1.3"), ("NORMAL:-VERS-TLS1.3", "TLSv1.2")):
        for kind in "ec", "rsa":
            chain, key = HERE.issue("mx.example.org", kind)
            with Server(tls={"level": "may", "certificate": chain, "key": key}) as server, sender(server, f"""
  hosts_require_tls = *
  tls_verify_certificates = {HERE.certificate}
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
  tls_sni = mx.example.org
  tls_require_ciphers = {priority}
""") as exim:
                sent = message("by Exim", ".\r\n..\r\nx\r\n" * 20_000)
                through(exim, sent, ["alice@example.org", "bob@example.org"])
                for user in "alice", "bob":
                    [letter] = server.wait_mail(user, 1)
                    assert letter.body == body_of(sent), user
                    assert "with ESMTPS id" in letter.all("Received")[0] and f"using {version}" in letter.all("Received")[0], letter.all("Received")
                accepted = server.wait_event("message.accepted")
                assert accepted["tls"]["version"] == version and accepted["client"]["helo"] == "exim.example.net", accepted
                line = exim.wait_log("=> alice@example.org")
                # K: by BDAT; CV=yes: the certificate is from whom it should be.
                assert " K " in line and "CV=yes" in line and " X=TLS1." in line, line
                exim.wait_queue_empty()


@test("Exim without CHUNKING, without TLS, without pipelining, and with all of a queue over one connection")
def _():
    with Server() as server, sender(server, "  hosts_try_chunking =\n  hosts_avoid_tls = *\n  hosts_avoid_pipelining = *\n  connection_max_messages = 500", main="queue_only") as exim:
        for number in range(30):
            through(exim, message(f"number {number}", ".\r\n..\r\n"), ["alice@example.org"])
        exim.run_queue()
        letters = server.wait_mail("alice", 30, timeout=40)
        assert all(letter.body == b".\n..\n" for letter in letters)
        sessions = {event["session"] for event in server.events("message.accepted")}
        assert len(sessions) < 15, f"{len(sessions)} sessions for 30 messages"
        assert not any(" K " in line for line in exim.log().splitlines()), exim.log()
        exim.wait_queue_empty()


@test("what we refuse at RCPT, for its size, or for now, Exim returns or keeps, and the rest arrives")
def _():
    with Server(limits={"message_size": 200_000}) as server, sender(server) as exim:
        through(exim, message("half"), ["alice@example.org", "nobody@example.org"], sender="bob@example.org")
        server.wait_mail("alice", 1)
        line = exim.wait_log("** nobody@example.org")
        assert "550 5.1.1" in line, line
        [letter] = server.wait_mail("bob", 1)
        assert b"nobody@example.org" in letter.data and b"Status: 5.0.0" in letter.data or b"5.1.1" in letter.data, letter.data
        through(exim, message("large", "0123456789\r\n" * 40_000), ["alice@example.org"], sender="carol@example.org")
        assert "552 5.3.4" in exim.wait_log("** alice@example.org"), exim.log()
        server.wait_mail("carol", 1)
        assert len(server.letters("alice")) == 1
        exim.wait_queue_empty()
    with Server(queue={"minimum_free": "900TB"}) as server, sender(server) as exim:
        through(exim, message("later"), ["alice@example.org"])
        assert "452 4.3.1" in exim.wait_log("== alice@example.org"), exim.log()
        text = server.manifest_path.read_text()
        server.manifest_path.write_text(text.replace('"900TB"', "0"))
        assert server.valija("reload").returncode == 0
        exim.run_queue()
        server.wait_mail("alice", 1)
        exim.wait_queue_empty()


@test("DSN and SMTPUTF8 pass through Exim to us: we report what was asked for, in the sender's own terms")
def _():
    with Server() as server, sender(server) as exim:
        through(exim, message("asked"), ["alice@example.org"], "bob@example.org", ["RET=HDRS", "ENVID=EX314"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;Alice@old.example"])
        [letter] = server.wait_mail("bob", 1)
        report = Report(letter)
        assert report.actions == {"alice@example.org": "delivered"} and report.message["Original-Envelope-Id"] == "EX314", report.status
        assert report.recipients["alice@example.org"]["Original-Recipient"] == "rfc822;Alice@old.example", report.status
        assert report.returned.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers"), report.returned
        sent = message("Grüße", "Grüße\r\n", sender="отправитель@пример.example")
        through(exim, sent, ["alice@example.org"], "отправитель@пример.example", ["SMTPUTF8", "BODY=8BITMIME"], encoding="utf-8")
        letters = server.wait_mail("alice", 2)
        [letter] = [letter for letter in letters if letter["Return-Path"] == "<отправитель@пример.example>"]
        assert letter.body == body_of(sent) and "with UTF8SMTP" in letter.all("Received")[0], letter.data


@test("Exim asks us by callout who exists, recipients and senders; a callout costs no message")
def _():
    acl = """
acl_rcpt_of_test:
  require verify = sender/callout=10s,no_cache
  require verify = recipient/callout=10s,no_cache
  accept
"""
    with Server() as server, sender(server, acl=acl, main="acl_smtp_rcpt = acl_rcpt_of_test") as exim:
        assert [code for code, _ in through(exim, message("known"), ["alice@example.org"], "bob@example.org")] == [250], exim.log()
        server.wait_mail("alice", 1)
        [(code, text)] = through(exim, message("unknown"), ["nobody@example.org"], "bob@example.org")
        assert code == 550 and b"5.1.1" in text, (code, text)
        [(code, text)] = through(exim, message("unknown"), ["alice@example.org"], "nobody@example.org")
        assert code == 550 and b"5.1.1" in text, (code, text)
        # The null sender has nothing to ask for.
        assert [code for code, _ in through(exim, message("null"), ["alice@example.org"], "")] == [250], exim.log()
        server.wait_mail("alice", 2)
        assert len(server.events("message.accepted")) == 2
        wait_for(lambda: len(server.events("session.closed")) == len(server.events("session.opened")), what="all sessions closed")
        assert not any(event.get("after") for event in server.events("session.closed")), server.events("session.closed")


@test("cut-through: Exim answers its client when we have answered, to recipients and to the content")
def _():
    acl = """
acl_rcpt_of_test:
  accept  control = cutthrough_delivery/defer=pass
"""
    with Server() as server, sender(server, acl=acl, main="acl_smtp_rcpt = acl_rcpt_of_test") as exim:
        with smtplib.SMTP("127.0.0.1", exim.port, "client.example.net", 30) as client:
            client.ehlo()
            client.mail("someone@elsewhere.example")
            assert client.rcpt("alice@example.org")[0] == 250
            code, text = client.data(message("through"))
            assert code == 250, (code, text)
            server.wait_event("message.accepted")
            client.mail("someone@elsewhere.example")
            code, text = client.rcpt("nobody@example.org")
            assert code == 550, (code, text)
        assert server.wait_event("message.rejected")["to"] == "nobody@example.org"
        server.wait_mail("alice", 1)
        exim.wait_log(">> alice@example.org")


@test("Exim hands mail over by LMTP, with a reply for each recipient")
def _():
    port = free_port()
    with Server(listen={"lmtp": [f"127.0.0.1:{port}"]}) as server, sender(server, "  protocol = lmtp", port=port) as exim:
        sent = message("by LMTP", ".\r\n..\r\n")
        through(exim, sent, ["alice@example.org", "nobody@example.org", "carol@example.org"], sender="bob@example.org")
        for user in "alice", "carol":
            [letter] = server.wait_mail(user, 1)
            assert letter.body == body_of(sent) and " with LMTP" in letter.all("Received")[0], letter.data
            assert "2.1.5" in (line := exim.wait_log(f"> {user}@example.org")) or "250 2." in line, line
        assert "550 5.1.1" in exim.wait_log("** nobody@example.org"), exim.log()
        server.wait_mail("bob", 1)
        exim.wait_queue_empty()
