"""Debian's Postfix on what `valija render` wrote: mail goes where the manifest says, with both kinds of accounts and each type of table,
into files, commands and lists as well, and to other servers by their routes; users log in by Dovecot, and get the certificate of the name that they ask for."""

import grp
import mailbox
import os
import pathlib
import pwd
import smtplib
import ssl
import subprocess
import tempfile
import threading
import time

from kit import *
from kit.certificates import Authority
from kit.dovecot import Dovecot, Logins
from kit.postfix import Postfix

# Accounts that every Debian has (base-passwd).
USERS = {"games": {}, "news": {"mailbox": {"format": "mbox"}}, "uucp": {"forward": ["games"], "keep_copy": True}}
OWNER = "65532:65532"


class Rendered(Postfix):
    """A manifest, rendered into a directory of its own, with mailboxes in `mail` and a place for deliveries in `drop`."""

    def __init__(self, *options, maps="texthash", listen={}, **keys):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="p-", dir=SCRATCH))
        for place in (self.home, SCRATCH):
            place.chmod(place.stat().st_mode | 0o711)
        self.mail, self.drop = self.home / "mail", self.home / "drop"
        self.mail.mkdir()
        self.drop.mkdir()
        self.drop.chmod(0o777)
        port = free_port()
        manifest = {
            "apiVersion": "valija/v1", "hostname": "mx.example.org", "origin": "example.org",
            "domains": {"example.org": {}, "example.net": {},
                        "shop.example": {"kind": "virtual", "addresses": {"info": ["games", "news"], "*": "uucp"}}},
            "users": USERS,
            "aliases": {
                "postmaster": "games", "everyone": ["games", "news", "uucp"],
                "log": str(self.drop / "the log, \"old\" one"),
                "tickets": ["news", f"|/bin/sh -c 'printf \"%s|\" \"$ORIGINAL_RECIPIENT\" a\\\\b >>\"$0\"; cat >>\"$0\"' '{self.drop}/tickets of today'"],
                "list": f":include:{self.drop}/a list",
            },
            "address_extension": "+", "networks": ["127.0.0.0/8"],
            "local_delivery": {"allow_mail_to_commands": ["alias"]},
            "mailboxes": {"directory": str(self.mail), "format": "maildir"},
            "listen": {"smtp": [f"127.0.0.1:{port}"], **listen},
            **keys,
        }
        path = self.home / "mail.yaml"
        path.write_text(to_yaml(manifest) + "\n")
        (self.drop / "a list").write_text("games, news@example.net\n# nobody else\nuucp+x@example.org\n")
        (self.drop / "a list").chmod(0o644)
        self.rendered = self.home / "out"
        done = run(BINARY, "render", path, "-o", self.rendered, "--maps", maps, *options)
        assert done.returncode == 0, done.out
        if maps != "texthash":
            done = run("make", "--silent", "-C", self.rendered)
            assert done.returncode == 0, done.out
        super().__init__(self.rendered, self.home / "instance", port)

    def letters(self, user):
        path = self.mail / user
        if path.is_dir():
            return [Letter(file.read_bytes(), file) for part in ("new", "cur") for file in (path / part).glob("*")]
        return [Letter(bytes(entry)) for entry in mailbox.mbox(path, create=False)] if path.exists() else []

    def deliver(self, *recipients):
        """Sends one message; returns how many copies of it each user has."""
        data = message("for " + ", ".join(recipients))
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example.net", timeout=20) as client:
            client.sendmail("sender@example.net", recipients, data)
        self.wait_queue_empty()
        ident = Letter(data.replace(b"\r\n", b"\n")).ident
        counts = {user: sum(letter.ident == ident for letter in self.letters(user)) for user in USERS}
        for user in USERS:
            for letter in self.letters(user):
                if letter.ident == ident:
                    letter.assert_holds(data)
        return {user: count for user, count in counts.items() if count}


def check_deliveries(postfix, one_copy):
    """`one_copy`: also where two recipients lead to the same mailbox."""
    assert postfix.deliver("games@example.org") == {"games": 1}, postfix.log()
    assert postfix.deliver("News+x@example.net") == {"news": 1}, postfix.log()
    assert postfix.deliver("uucp@example.org") == {"games": 1, "uucp": 1}, postfix.log()
    assert postfix.deliver("everyone@example.net") == {"games": 1, "news": 1, "uucp": 1}, postfix.log()
    assert postfix.deliver("info+y@shop.example") == {"games": 1, "news": 1}, postfix.log()
    assert postfix.deliver("whatever@shop.example") == {"games": 1, "uucp": 1}, postfix.log()
    assert postfix.deliver("postmaster") == {"games": 1}, postfix.log()
    assert (postfix.mail / "games/new").is_dir() and (postfix.mail / "news").is_file()
    twice = {"games": 1 if one_copy else 2, "news": 1}
    assert postfix.deliver("games+a@example.org", "info@shop.example") == twice, postfix.log()
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.helo("client.example.net")
        client.mail("sender@example.net")
        for nobody in ("nobody@example.org", "root@example.org", "daemon@example.net"):
            code, text = client.rcpt(nobody)
            assert code == 550 and text.startswith(b"5.1.1"), (nobody, code, text)

    # Files, commands, lists.
    assert postfix.deliver("log+z@example.net") == {}
    log = (postfix.drop / "the log, \"old\" one").read_text()
    assert "Subject: for log+z@example.net\n" in log, log
    assert postfix.deliver("tickets@example.org") == {"news": 1}, postfix.log()
    tickets = (postfix.drop / "tickets of today").read_text()
    assert tickets.startswith("tickets@example.org|a\\b|From ") and "Subject: for tickets@example.org\n" in tickets, tickets
    got = postfix.deliver("list@example.org")
    assert set(got) == {"games", "news", "uucp"} and got["news"] == 1, (got, postfix.log())
    assert "warning" not in postfix.log().replace("smtpd_peername_lookup", ""), [line for line in postfix.log().splitlines() if "warning" in line]


for maps in ("texthash", "lmdb", "hash"):
    @test(f"virtual accounts, {maps}: each address reaches its mailboxes, files, commands and lists, in one copy")
    def _(maps=maps):
        postfix = Rendered("--accounts", "virtual", "--owner", OWNER, maps=maps)
        os.chown(postfix.mail, 65532, 65532)
        with postfix:
            check_deliveries(postfix, one_copy=True)
            assert all(letter.path.stat().st_uid == 65532 for letter in postfix.letters("games"))

    @test(f"UNIX accounts, {maps}: each address reaches its mailboxes, files, commands and lists")
    def _(maps=maps):
        postfix = Rendered("--accounts", "unix", maps=maps)
        # As tmpfiles.conf says, and a place where local(8) may make an mbox as a user of the group mail.
        os.chown(postfix.mail, 0, grp.getgrnam("mail").gr_gid)
        postfix.mail.chmod(0o1777)
        for user in USERS:
            if user != "news":
                (postfix.mail / user).mkdir(mode=0o700)
                os.chown(postfix.mail / user, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        with postfix:
            check_deliveries(postfix, one_copy=False)
            assert all(letter.path.stat().st_uid == pwd.getpwnam("games").pw_uid for letter in postfix.letters("games"))


# Other servers

def send(postfix, *recipients, sender="sender@example.net"):
    data = message("for " + ", ".join(recipients))
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
        client.sendmail(sender, recipients, data)
    return data


for accounts in ("unix", "virtual"):
    @test(f"{accounts} accounts: mail leaves by the route of its recipient, of its sender, by the relayhost, or the fallback relay where that is dead")
    def _(accounts=accounts):
        with Sink() as partner, Sink() as exact, Sink() as below, Sink() as sales, Sink() as boss, Sink() as rest, Sink() as fallback:
            def hop(sink):
                return f"[127.0.0.1]:{sink.port}"

            dead = f"[127.0.0.1]:{free_port()}"
            with Rendered("--accounts", accounts, "--owner", OWNER, relayhost=hop(rest), delivery={"fallback_relay": hop(fallback)},
                          routes={"partner.example": hop(partner), "fax@partner.example": hop(exact), ".branch.example": hop(below), "dead.example": dead},
                          sender_routes={"@sales.example.org": hop(sales), "boss@sales.example.org": hop(boss)}) as postfix:
                for sender, to, sink in [
                    ("a@else.example", "x@partner.example", partner), ("a@else.example", "fax@partner.example", exact), ("a@else.example", "x@deep.branch.example", below),
                    ("a@else.example", "x@branch.example", rest), ("a@sales.example.org", "x@partner.example", partner), ("a@sales.example.org", "x@third.example", sales),
                    ("boss@sales.example.org", "x@third.example", boss), ("a@else.example", "x@third.example", rest), ("a@else.example", "x@dead.example", fallback),
                ]:
                    before = len(sink.messages)
                    send(postfix, to, sender=sender)
                    wait_for(lambda: len(sink.messages) > before, 30, f"{sender} to {to}: {postfix.log()[-2000:]}")
                    assert sink.messages[-1][:2] == (sender, [to]), sink.messages[-1][:2]
                postfix.wait_queue_empty()
                assert sum(len(sink.messages) for sink in (partner, exact, below, sales, boss, rest, fallback)) == 9

    @test(f"{accounts} accounts: mailboxes.via hands mail for users to Dovecot by LMTP, one copy each, over a Unix socket and over TCP")
    def _(accounts=accounts):
        for unix in (True, False):
            # local(8) hands the address over as it came, and Valija and virtual(8) the user at the origin.
            with Dovecot(users=("games", "news", "uucp"), domains=("example.org", "example.net")) as dovecot:
                via = f"lmtp:unix:{dovecot.socket}" if unix else f"lmtp:[127.0.0.1]:{dovecot.port}"
                # A Unix socket is looked for below the queue by a daemon in a chroot; master.cf of `render` has none.
                with Rendered("--accounts", accounts, "--owner", OWNER, mailboxes={"via": via}, users={"games": {}, "news": {}, "uucp": {}}) as postfix:
                    sent = send(postfix, "games@example.org", "news@example.net")
                    for user in "games", "news":
                        [letter] = wait_for(lambda: dovecot.letters(user), 30, f"{user}'s mail: {postfix.log()[-2000:]}{dovecot.log()}")
                        assert letter.replace(b"\r\n", b"\n").endswith(sent.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n")), letter
                        assert b"Return-Path: <sender@example.net>" in letter, letter
                    postfix.wait_queue_empty()
                    assert not list(postfix.mail.iterdir()), "nothing lies in mailboxes.directory"


@test("tls.outgoing: Postfix sends in clear, in TLS, to whom it can verify and to no other, and to the relayhost in TLS from the first octet")
def _():
    authority = Authority(SCRATCH / "authority")
    partner, relay = authority.issue("mx.partner.example"), authority.issue("relay.example")
    os.chmod(SCRATCH, 0o755)
    with Sink(certificate=partner) as clear, Sink(certificate=partner) as usual, Sink(certificate=partner) as verified, \
            Sink(certificate=partner) as mistaken, Sink(certificate=relay, implicit=True) as rest:
        def hop(sink):
            return f"[127.0.0.1]:{sink.port}"

        tls = {"outgoing": {"trust_store": str(authority.certificate), "destinations": {
            hop(clear): "none", hop(verified): {"level": "verify", "names": [".partner.example"]},
            hop(mistaken): {"level": "verify", "names": ["mx.other.example"]}, hop(rest): {"level": "verify", "names": ["relay.example"]}}}}
        routes = {"clear.example": hop(clear), "usual.example": hop(usual), "verified.example": hop(verified), "mistaken.example": hop(mistaken)}
        with Rendered("--accounts", "virtual", "--owner", OWNER, relayhost={"host": hop(rest), "implicit_tls": True}, tls=tls, routes=routes) as postfix:
            for to, sink in [("x@clear.example", clear), ("x@usual.example", usual), ("x@verified.example", verified), ("x@else.example", rest)]:
                send(postfix, to)
                wait_for(lambda: sink.messages, 30, f"{to}: {postfix.log()[-2000:]}")
                assert len(sink.encrypted) == (sink is not clear), (to, sink.encrypted)
                assert sink is clear or not [line for line in sink.plain if line.startswith("MAIL")], (to, sink.plain)
            send(postfix, "x@mistaken.example")
            wait_for(lambda: "Server certificate not verified" in postfix.log(), 30, postfix.log()[-2000:])
            assert not mistaken.messages, mistaken.messages


@test("delivery.*: what Postfix does by the rendered limits: recipients for each message, connections at a time, a pause between")
def _():
    gate = threading.Event()
    open_now, most = [0], [0]
    lock = threading.Lock()

    def slow(command, argument):
        if command == "DATA":
            with lock:
                open_now[0] += 1
                most[0] = max(most[0], open_now[0])
            gate.wait(30)
        if command == "." :
            with lock:
                open_now[0] -= 1

    with Sink(slow) as sink, Rendered(relayhost=f"[127.0.0.1]:{sink.port}", delivery={"concurrency": 3, "initial_concurrency": 3, "recipients_per_message": 2}) as postfix:
        send(postfix, *[f"u{number}@elsewhere.example" for number in range(5)])
        for number in range(6):
            send(postfix, f"v{number}@elsewhere.example")
        wait_for(lambda: open_now[0] == 3, 20, "three deliveries at a time")
        time.sleep(1)
        assert open_now[0] == 3, open_now
        gate.set()
        postfix.wait_queue_empty()
        assert most[0] == 3, most
        assert sorted(len(recipients) for _, recipients, _ in sink.messages if recipients[0].startswith("u")) == [1, 2, 2], sink.messages
    moments = []
    with Sink(lambda command, argument: moments.append(time.monotonic()) if command == "MAIL" else None) as sink, \
            Rendered(relayhost=f"[127.0.0.1]:{sink.port}", delivery={"rate_delay": "2s"}) as postfix:
        for number in range(3):
            send(postfix, f"w{number}@elsewhere.example")
        wait_for(lambda: len(sink.messages) == 3, 30, postfix.log())
        assert all(later - earlier >= 1.5 for earlier, later in zip(moments, moments[1:])), moments


# Logins

def certificate(directory, name):
    done = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
               "-keyout", directory / f"{name}-key.pem", "-out", directory / f"{name}.pem", "-days", "2")
    assert done.returncode == 0, done.out
    return {"certificate": str(directory / f"{name}.pem"), "key": str(directory / f"{name}-key.pem")}


for maps in ("texthash", "lmdb"):
    @test(f"submission, {maps}: in TLS only, with a login only, as one's own senders only, with the certificate of the name asked for")
    def _(maps=maps):
        tls = pathlib.Path(tempfile.mkdtemp(prefix="tls-", dir=SCRATCH))
        ports = free_port(), free_port()
        hashed = run("openssl", "passwd", "-6", "-salt", "salt", "correct horse").out.strip()
        (tls / "hash").write_text(hashed + "\n")
        bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"  # of "U*U"
        keys = dict(
            users={"games": {"password": {"file": str(tls / "hash")}, "send_as": ["office@elsewhere.example"]}, "news": {"password": bcrypt}, "uucp": {}},
            tls={"level": "may", **certificate(tls, "mx.example.org"), "certificates": {"mail.example.net": certificate(tls, "mail.example.net")}},
        )
        listen = {"submission": [f"127.0.0.1:{ports[0]}"], "submissions": [f"127.0.0.1:{ports[1]}"]}
        postfix = Rendered("--accounts", "virtual", maps=maps, listen=listen, **keys)
        os.chown(postfix.mail, 65532, 65532)
        if maps != "texthash":
            assert (postfix.rendered / f"tls_certificates.{maps}").stat().st_mode & 0o77 == 0, "it holds a private key"

        def connect(name="mx.example.org", wrapped=False):
            context = ssl.create_default_context(cafile=str(tls / f"{name}.pem"))
            if wrapped:
                client = smtplib.SMTP_SSL(host=None, timeout=20, context=context)
                client._host = name
                client.connect("127.0.0.1", ports[1])
            else:
                client = smtplib.SMTP(timeout=20)
                client.connect("127.0.0.1", ports[0])
                client._host = name
                client.ehlo()
                assert not client.has_extn("auth"), "no password in the clear"
                assert client.mail("games@example.org")[0] == 530
                client.starttls(context=context)
            client.ehlo()
            return client

        with postfix, Logins.rendered(postfix, postfix.home / "dovecot"):
            for client in (connect(), connect("mail.example.net"), connect(wrapped=True), connect("mail.example.net", wrapped=True)):
                with client:
                    assert client.has_extn("auth")
                    client.mail("stranger@elsewhere.example")
                    assert client.rcpt("games@example.org")[0] == 554, "nobody without a login, not even from a network of ours"
            with connect() as client:
                for user, password in (("games", "wrong"), ("uucp", ""), ("uucp", "HASH"), ("nobody", "correct horse")):
                    try:
                        client.login(user, password)
                        assert False, (user, password)
                    except smtplib.SMTPAuthenticationError:
                        pass
                    client.ehlo()
            for user, password, allowed, refused in (
                ("games", "correct horse", ["games@example.org", "games+x@example.net", "postmaster@example.org", "office@elsewhere.example", ""],
                 ["news@example.org", "everyone@example.org", "someone@elsewhere.example", "anything@shop.example"]),
                ("NEWS", "U*U", ["news@example.net"], ["games@example.org", "office@elsewhere.example"]),
            ):
                with connect() as client:
                    client.login(user, password)
                    for sender in allowed + refused:
                        client.rset()
                        client.mail(sender)
                        code, text = client.rcpt("uucp@example.org")
                        assert code == (250 if sender in allowed else 553), (user, sender, code, text)
            with connect(wrapped=True) as client:
                client.login("games", "correct horse")
                client.sendmail("games@example.org", ["news@example.org"], message("submitted"))
            postfix.wait_queue_empty()
            assert [letter["Subject"] for letter in postfix.letters("news")] == ["submitted"], postfix.log()
