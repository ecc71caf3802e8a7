"""`sendmail` and `mailq`, called by their own names as programs and cron call them."""

from kit import *

LETTER = "From: Alice <alice@example.org>\nTo: Bob <bob@example.org>, carol@example.org\nCc: alice@example.org\nSubject: by sendmail\n\nhello\n.\nafter the dot\n"


@test("sendmail RECIPIENT…: the message of standard input is delivered; -i keeps a lone dot")
def _():
    with Server() as server:
        done = server.called("sendmail", "-i", "-f", "alice@example.org", "bob@example.org", input=LETTER)
        assert done.returncode == 0 and not done.out, (done.returncode, done.out)
        [letter] = server.wait_mail("bob", 1)
        assert letter["Return-Path"] == "<alice@example.org>" and letter.body == b"hello\n.\nafter the dot\n", letter.data


@test("without -i the message ends at a lone dot")
def _():
    with Server() as server:
        assert server.called("sendmail", "-f", "alice@example.org", "bob@example.org", input=LETTER).returncode == 0
        assert server.wait_mail("bob", 1)[0].body == b"hello\n"


@test("sendmail -t reads the recipients from the header and takes Bcc out")
def _():
    text = LETTER.replace("Cc: alice@example.org", "Bcc: alice@example.org")
    with Server() as server:
        done = server.called("sendmail", "-t", "-i", "-fcarol@example.org", input=text)
        assert done.returncode == 0, (done.returncode, done.out)
        for user in ("alice", "bob", "carol"):
            [letter] = server.wait_mail(user, 1)
            assert not letter.all("Bcc"), letter.data
            assert letter["Subject"] == "by sendmail" and letter["Return-Path"] == "<carol@example.org>", letter.fields


@test("what a message lacks is added: Date, Message-ID, From; bare names get the origin")
def _():
    with Server() as server:
        assert server.called("sendmail", "-i", "-f", "alice", "-F", "Alice Example", "bob", input="Subject: bare\n\nhello\n").returncode == 0
        [letter] = server.wait_mail("bob", 1)
        assert letter["Date"] and letter["Message-ID"] and "alice@example.org" in letter["From"], letter.fields
        assert letter["Return-Path"] == "<alice@example.org>", letter.fields


@test("sendmail -bs speaks SMTP on standard input")
def _():
    with Server() as server:
        talk = "EHLO localhost\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<nobody@example.org>\r\nDATA\r\n" \
               "Subject: by -bs\r\n\r\nhello\r\n.\r\nQUIT\r\n"
        done = server.called("sendmail", "-bs", input=talk)
        assert done.returncode == 0, (done.returncode, done.out)
        assert done.out.startswith("220 ") and "550 5.1.1" in done.out and "queued as" in done.out and done.out.rstrip().splitlines()[-1].startswith("221"), done.out
        assert server.wait_mail("bob", 1)[0]["Subject"] == "by -bs"


@test("sendmail -bp and mailq show the queue, sendmail -q flushes it")
def _():
    port = free_port()
    with Server(relayhost=f"[127.0.0.1]:{port}", queue={"retry": {"minimum": "1h", "maximum": "1h"}}) as server:
        assert "empty" in server.called("mailq").out.lower()
        queue_id = server.send(message("waits"), ["someone@elsewhere.example"])
        server.wait_event("delivery.deferred", queue_id=queue_id)
        for done in (server.called("mailq"), server.called("sendmail", "-bp")):
            assert done.returncode == 0 and queue_id in done.out and "someone@elsewhere.example" in done.out, done.out
        with Sink(port=port) as sink:
            assert server.called("sendmail", "-q").returncode == 0
            wait_for(lambda: sink.messages, what="the message at the sink")
        server.wait_queue_empty()


@test("exit codes are those of sysexits.h: 64 usage, 67 no such user, 75 when the server is not there")
def _():
    with Server() as server:
        assert server.called("sendmail", "-i", input=LETTER).returncode == 64, "no recipients"
        done = server.called("sendmail", "-i", "-f", "alice@example.org", "nobody@example.org", input=LETTER)
        assert done.returncode == 67 and "5.1.1" in done.out, (done.returncode, done.out)
        server.stop()
        done = server.called("sendmail", "-i", "-f", "alice@example.org", "bob@example.org", input=LETTER)
        assert done.returncode == 75, (done.returncode, done.out)


@test("options that scripts pass and that change nothing here are taken")
def _():
    with Server() as server:
        done = server.called("sendmail", "-oi", "-oem", "-odb", "-f", "alice@example.org", "--", "bob@example.org", input=LETTER)
        assert done.returncode == 0, (done.returncode, done.out)
        assert server.wait_mail("bob", 1)[0].body == b"hello\n.\nafter the dot\n"


@test("what cron writes arrives: a header in Latin-1 as it is, progress bars as lines, and no Bcc")
def _():
    text = b"From alice Mon Jan  1 00:00:00 2026\nSubject: Gr\xfc\xdfe\nTo: bob@example.org\nBcc: carol@example.org\n\n10%\r100%\n"
    with Server() as server:
        done = server.called("sendmail", "-i", "-FCronDaemon", "-f", "alice@example.org", "bob", input=text)
        assert done.returncode == 0, (done.returncode, done.out)
        [letter] = server.wait_mail("bob", 1)
        assert b"Subject: Gr\xfc\xdfe\n" in letter.data and not letter.all("Bcc"), letter.data
        assert letter.body == b"10%\n100%\n", letter.body
        assert not server.letters("carol")


@test("newaliases is there and says nothing; a manifest that is missing is named")
def _():
    with Server() as server:
        done = server.called("newaliases")
        assert done.returncode == 0 and not done.out, (done.returncode, done.out)
        server.manifest_path.rename(server.directory / "moved.yaml")
        done = server.called("sendmail", "bob", input=LETTER)
        assert done.returncode == 78 and str(server.manifest_path) in done.out and "No such file" in done.out, (done.returncode, done.out)
