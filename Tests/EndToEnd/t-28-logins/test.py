"""Logins with programs that people use, by every mechanism and every kind of hash; and what becomes of wrong ones."""

import base64
import contextlib
import os
import re
import select
import smtplib
import socket
import ssl
import statistics
import subprocess
import threading
import time

from kit import *
from kit.certificates import Authority

PASSWORD = "corréct horse, b=ttery \"staple\""


def hashed(scheme, password=PASSWORD):
    done = run(BINARY, "password", "--scheme", scheme, input=password + "\n")
    assert done.returncode == 0, done.out
    return done.out.strip()


def submission_server(password=None, **keys):
    port = free_port()
    keys.setdefault("users", {"alice": {"password": password} if password else {}, "bob": {}})
    submission = {"tls_auth_only": False, **keys.pop("submission", {})}
    server = Server(start=False, listen={"submission": [f"127.0.0.1:{port}"]}, submission=submission, **keys)
    server.submission_port = port
    return server


def login(server, user="alice", password=PASSWORD, mechanism="PLAIN", source=None):
    """(code, text) of a login by smtplib, which logs in with what it is given."""
    with smtplib.SMTP("127.0.0.1", server.submission_port, "client.example.net", 20, source_address=(source, 0) if source else None) as client:
        client.ehlo()
        encode = lambda text: base64.b64encode(text.encode()).decode()  # smtplib's own login() knows ASCII only
        if mechanism == "PLAIN":
            return client.docmd("AUTH", "PLAIN " + encode(f"\0{user}\0{password}"))
        assert client.docmd("AUTH", "LOGIN " + encode(user)) == (334, b"UGFzc3dvcmQ6")
        return client.docmd(encode(password))


def swaks(server, mechanism):
    return run("swaks", "--server", f"127.0.0.1:{server.submission_port}", "--auth", mechanism, "--auth-user", "alice", "--auth-password", PASSWORD,
               "--helo", "client.example.net", "--from", "alice@example.org", "--to", "bob@example.org", "--header", f"Subject: swaks {mechanism}")


def curl(server, mechanism):
    letter = server.directory / "letter"
    letter.write_bytes(message(f"curl {mechanism}", sender="alice@example.org"))
    return run("curl", "-sS", "-v", "--url", f"smtp://127.0.0.1:{server.submission_port}/client.example.net", "--user", f"alice:{PASSWORD}", "--login-options",
               f"AUTH={mechanism}", "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org", "-T", letter)


def msmtp(server, mechanism):
    return run("msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={server.submission_port}", "--tls=off", f"--auth={mechanism}", "--user=alice",
               f"--passwordeval=printf '%s' \"$SMTP_PASSWORD\"", "--domain=client.example.net", "--from=alice@example.org", "bob@example.org",
               env=dict(os.environ, SMTP_PASSWORD=PASSWORD), input=message(f"msmtp {mechanism}", sender="alice@example.org"))


def secrets_of(*passwords):
    return [form for password in passwords
            for form in (password, base64.b64encode(password.encode()).decode(), base64.b64encode(f"\0alice\0{password}".encode()).decode())]


def assert_no_secret(server, *passwords):
    text = server.log_path.read_text() + server.errors()
    for secret in secrets_of(*passwords):
        assert secret not in text, f"{secret!r} is in the log"


@test("swaks, curl, smtplib and msmtp log in with PLAIN and LOGIN, and msmtp with SCRAM")
def _():
    with submission_server(hashed("scram-sha-256")).start() as server:
        with smtplib.SMTP("127.0.0.1", server.submission_port) as client:
            client.ehlo()
            assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "PLAIN", "LOGIN"], client.esmtp_features
        sent = 0
        for mechanism in ("PLAIN", "LOGIN"):
            for send in (swaks, curl, msmtp):
                done = send(server, mechanism if send != msmtp else mechanism.lower())
                assert done.returncode == 0, (send.__name__, mechanism, done.out)
                sent += 1
            assert login(server, mechanism=mechanism)[0] == 235
        done = msmtp(server, "scram-sha-256")
        assert done.returncode == 0, done.out
        letters = server.wait_mail("bob", sent + 1)
        assert all(" with ESMTPA id " in letter.all("Received")[0] for letter in letters), [letter.fields for letter in letters]
        accepted = server.wait_event("message.accepted", count=sent + 1)
        assert {line["user"] for line in accepted} == {"alice"} and {line["service"] for line in accepted} == {"submission"}
        assert {line["mechanism"] for line in accepted} == {"PLAIN", "LOGIN", "SCRAM-SHA-256"}, accepted
        assert len(server.wait_event("login.succeeded", user="alice", count=sent + 3)) == sent + 3
        assert_no_secret(server, PASSWORD)
        status, text = server.http("/metrics")
        assert f'valija_events_total{{event="login.succeeded"}} {sent + 3}' in text, text


@test("msmtp logs in with SCRAM-SHA-1 where the keys are of it, and smtplib with the same password")
def _():
    with submission_server(hashed("scram-sha-1")).start() as server:
        done = msmtp(server, "scram-sha-1")
        assert done.returncode == 0, done.out
        assert login(server)[0] == 235
        server.wait_mail("bob", 1)


def gsasl(port, mechanism, authority, *options, password=PASSWORD, lines=""):
    """GNU SASL's client over STARTTLS: what it and the server said. `lines` are sent after the login."""
    return run("gsasl", "--smtp", f"--connect=localhost:{port}", f"--mechanism={mechanism}", "--authentication-id=alice", f"--password={password}",
               f"--x509-ca-file={authority.certificate}", "--starttls", *options, input=lines + "QUIT\r\n", timeout=30)


@contextlib.contextmanager
def somebody_between(port, certificate):
    """A port that speaks TLS with both sides, after STARTTLS, and passes on all that they say: what channel binding is against."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def read(connection, pattern):
        octets = b""
        while not re.search(pattern, octets):
            more = connection.recv(65536)
            if not more:
                raise ConnectionResetError
            octets += more
        return octets

    def serve():
        with contextlib.suppress(OSError):
            client, server = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
            while True:  # in clear up to the server's leave to start TLS
                answer = read(server, rb"(?m)^\d{3} .*\r\n")
                client.sendall(answer)
                if answer.startswith(b"220 2.0.0"):
                    break
                server.sendall(read(client, rb"\n"))
            inner, outer = ssl._create_unverified_context().wrap_socket(server), context.wrap_socket(client, server_side=True)
            with inner, outer:  # by one thread: OpenSSL wants that of a connection
                while True:
                    for source in select.select([inner, outer], [], [])[0]:
                        source.settimeout(0)
                        with contextlib.suppress(ssl.SSLWantReadError):  # a ticket for later sessions is no word of the other
                            while True:
                                octets = source.recv(65536)
                                if not octets:
                                    return
                                (outer if source is inner else inner).sendall(octets)
                        source.settimeout(None)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join(10)


@test("GNU SASL's client logs in with SCRAM that is tied to its TLS connection, and not through somebody between who passes all on", limit=120)
def _():
    authority = Authority(SCRATCH / "authority")
    tls = dict(zip(("certificate", "key"), authority.issue("localhost")))
    for digest, offered in (("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-1", "SCRAM-SHA-1")):
        with submission_server(hashed(digest), submission={"tls_auth_only": True}, tls={"level": "may", **tls}).start() as server:
            # tls-exporter (RFC 9266) in TLS 1.3, tls-unique (RFC 5929) in TLS 1.2.
            for binding, options in (("tls-exporter", []), ("tls-unique", ["--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"])):
                done = gsasl(server.submission_port, f"{offered}-PLUS", authority, *options)
                assert f"AUTH {offered}-PLUS {offered} PLAIN LOGIN" in done.out, done.out
                first = next(line for line in map(decoded, done.out.split()) if line.startswith("p="))
                assert first.startswith(f"p={binding},,n=alice,r="), first
                assert "\n235 2.7.0 " in done.out, done.out
                # A wrong password is wrong there too.
                assert "\n535 5.7.8 " in gsasl(server.submission_port, f"{offered}-PLUS", authority, *options, password="guess").out
                with somebody_between(server.submission_port, authority.issue("localhost", file="between")) as port:
                    done = gsasl(port, f"{offered}-PLUS", authority, *options)
                    assert "Verification: The certificate is trusted" in done.out and "\n535 5.7.8 " in done.out, done.out
                # The password itself would have gone through.
                with somebody_between(server.submission_port, authority.issue("localhost", file="between")) as port:
                    assert "\n235 2.7.0 " in gsasl(port, "PLAIN", authority, "--authorization-id=", *options).out
            # Who does not bind may log in; who could, and claims to have been told that the server cannot, has somebody between.
            assert "\n235 2.7.0 " in gsasl(server.submission_port, offered, authority, "--no-cb").out
            succeeded = {line["mechanism"] for line in server.wait_event("login.succeeded", count=5)}
            assert succeeded == {f"{offered}-PLUS", offered, "PLAIN"}, succeeded
            assert "the channel is not the one that the client sees" in {line["reason"] for line in server.events("login.failed")}, server.events("login.failed")
            assert_no_secret(server, PASSWORD)


def decoded(word):
    try:
        return base64.b64decode(word, validate=True).decode()
    except ValueError:
        return ""


@test("every kind of hash lets its user in, and nobody else; SCRAM is not offered where not all have keys for it", limit=120)
def _():
    import crypt
    kinds = {name: hashed(name) for name in ("yescrypt", "bcrypt", "sha512crypt", "sha256crypt", "scram-sha-256")}
    kinds["braces"] = "{SHA512-CRYPT}" + crypt.crypt(PASSWORD, crypt.METHOD_SHA512)
    kinds["postgres"] = postgres(kinds["scram-sha-256"])
    for scheme in ("SSHA256", "SHA512", "BLF-CRYPT", "SSHA512.HEX", "SCRAM-SHA-1"):
        done = run("doveadm", "pw", "-s", scheme, "-p", PASSWORD)
        assert done.returncode == 0, done.out
        kinds[scheme] = done.out.strip()
    users = {f"user{number}": {"password": text} for number, text in enumerate(kinds.values())}
    with submission_server(users={"bob": {}, **users}, aliases={"postmaster": "bob"}).start() as server:
        with smtplib.SMTP("127.0.0.1", server.submission_port) as client:
            client.ehlo()
            assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"], client.esmtp_features
        for number, (user, kind) in enumerate(zip(users, kinds), 1):
            assert login(server, user)[0] == 235, kind
            # From somewhere else each time: who fails five times has to wait.
            assert login(server, user, PASSWORD + "x", source=f"127.0.1.{number}")[0] == 535, kind
        assert_no_secret(server, PASSWORD)
        for text in kinds.values():
            assert text not in server.log_path.read_text()


def postgres(text):
    iterations, salt, stored, key = text.removeprefix("{SCRAM-SHA-256}").split(",")
    return f"SCRAM-SHA-256${iterations}:{salt}${stored}:{key}"


@test("who does not exist, a wrong password and a locked account get the same answer; the log tells the name and no password")
def _():
    with submission_server(users={"alice": {"password": hashed("sha256crypt")}, "bob": {"password": "!locked"}, "carol": {}}).start() as server:
        answers = {login(server, user, "wr0ng-word") for user in ("alice", "bob", "carol", "nobody")}
        assert answers == {(535, b"5.7.8 Error: authentication failed")}, answers
        failed = server.wait_event("login.failed", count=4)
        assert [line["user"] for line in failed] == ["alice", "bob", "carol", "nobody"], failed
        assert all(line["level"] == "warning" and line["mechanism"] == "PLAIN" and line["client"]["address"] == "127.0.0.1" for line in failed)
        assert_no_secret(server, "wr0ng-word")


@test("a user may log in by an address that leads to that user alone")
def _():
    with submission_server(users={"alice": {"password": hashed("sha256crypt")}, "bob": {}}, aliases={"postmaster": "alice", "sales": ["alice", "bob"]},
                           ).start() as server:
        assert login(server, "alice@example.org")[0] == 235
        assert login(server, "Postmaster@Example.org", mechanism="LOGIN")[0] == 235
        assert {line["user"] for line in server.wait_event("login.succeeded", count=2)} == {"alice"}
        assert login(server, "sales@example.org")[0] == 535
        assert login(server, "alice@elsewhere.example")[0] == 535


@test("directories are asked in order; their files are read again when they change, and a file that is away makes nobody wrong")
def _():
    folder = SCRATCH / "directories"
    folder.mkdir()
    passwd, shadow, users = folder / "passwd", folder / "shadow", folder / "users"
    passwd.write_text("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nold:x:1001:1001::/:/bin/sh\n")
    shadow.write_text(f"root:{hashed('sha256crypt', 'root')}:1::::::\nalice:{hashed('sha256crypt', 'of shadow')}:1::::::\nold:*:1::::::\n")
    users.write_text(f"# of Dovecot\nalice:{{PLAIN}}of users::::::\nbob:{hashed('sha256crypt', 'of users')}:5000:5000::/home/bob::\nnobody:{{NTLM}}00\n")
    directories = ["manifest", {"passwd_file": str(users)}, {"system": str(passwd), "shadow": str(shadow)}]
    with submission_server(users={"alice": {}, "bob": {}, "carol": {"password": hashed("sha256crypt", "of manifest")}}, directories=directories).start() as server:
        read = server.wait_event("directory.read", address=str(users))
        assert read["count"] == 3 and read["reason"] == "line 4: nobody has no login: the scheme {NTLM} is not known", read
        want = {("carol", "of manifest"): 235, ("alice", "of users"): 235, ("alice", "of shadow"): 535, ("bob", "of users"): 235, ("root", "root"): 535}
        for (user, password), code in want.items():
            assert login(server, user, password)[0] == code, (user, password)
        users.write_text(f"dave:{hashed('sha256crypt', 'new')}\n")
        assert login(server, "dave", "new")[0] == 235
        assert login(server, "alice", "of shadow")[0] == 235
        assert login(server, "bob", "of users")[0] == 535
        users.unlink()
        assert login(server, "carol", "of manifest")[0] == 235
        code, text = login(server, "dave", "new")
        assert code == 454 and text.startswith(b"4.7.0 "), (code, text)
        failure = server.wait_event("directory.failed")
        assert str(users) in failure["reason"] and failure["level"] == "error", failure
        assert_no_secret(server, "of manifest", "of users", "of shadow")


@test("a manifest whose secret cannot be read, or whose hash is none, does not start, and says which")
def _():
    for password, words in (({"file": "/nowhere/secret"}, "users.alice.password: the file /nowhere/secret cannot be read"),
                            ({"env": "NO_SUCH_VARIABLE"}, "users.alice.password: the environment variable NO_SUCH_VARIABLE is not set"),
                            ("{SSHA256}dG9vIHNob3J0", "users.alice.password: the hash will never match")):
        server = submission_server(password)
        server.spawn()
        assert server.process.wait(20) == 1
        assert words in server.errors(), server.errors()
    server = submission_server("x", directories=[{"passwd_file": "/nowhere/users"}], users={"alice": {}})
    server.spawn()
    assert server.process.wait(20) == 1 and "/nowhere/users: No such file" in server.errors(), server.errors()


@test("without TLS a login is neither offered nor taken, unless the manifest says so")
def _():
    with submission_server(hashed("sha256crypt"), submission={"tls_auth_only": True}).start() as server:
        with smtplib.SMTP("127.0.0.1", server.submission_port) as client:
            client.ehlo()
            assert "auth" not in client.esmtp_features
        assert login(server) == (530, b"5.7.0 Must issue a STARTTLS command first")
        # Port 25 knows no logins.
        with Dialogue(server.port) as client:
            assert "AUTH" not in client.expect("EHLO client.example.net", "250")
            client.expect("AUTH PLAIN", "502 5.5.1")
        assert_no_secret(server, PASSWORD)


@test("who fails often waits; the owner at another address does not, and is remembered for nothing")
def _():
    with submission_server(hashed("sha256crypt")).start() as server:
        codes = [login(server, password=f"guess{number}", source="127.0.0.7")[0] for number in range(7)]
        assert codes == [535] * 5 + [454] * 2, codes
        code, text = login(server, source="127.0.0.7")
        assert code == 454 and text.startswith(b"4.7.0 Temporary authentication failure: too many failures, try again in "), (code, text)
        assert login(server, source="127.0.0.8")[0] == 235
        # Another name from there waits as well.
        assert login(server, user="bob", source="127.0.0.7")[0] == 454


@test("bad words in a login cost nothing but a refusal: NUL, no base64, too long, cut off, given up; other sessions go on")
def _():
    with submission_server(hashed("sha256crypt")).start() as server:
        other = Dialogue(server.submission_port)
        encode = lambda octets: base64.b64encode(octets).decode()
        for response, answer in ((encode(b"\0alice\0a\0b"), "501 5.5.2"), (encode(b"\0\0x"), "501 5.5.2"), (encode(b"bob\0alice\0" + PASSWORD.encode()), "535 5.7.8"),
                                 ("no base64!", "501 5.5.2"), ("*", "501 5.7.0"), ("A" * 20_000, "500 5.5.2"), (encode(b"\0alice\0" + b"x" * 5000), "535 5.7.8")):
            with Dialogue(server.submission_port) as client:
                client.expect("EHLO client.example.net", "250")
                client.expect("AUTH PLAIN", "334")
                client.expect(response, answer)
                client.expect("NOOP", "250")
        with Dialogue(server.submission_port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("AUTH PLAIN " + "A" * 4000, "500 5.5.2")
            client.expect("NOOP", "250")
            client.write(b"AUTH LOGIN\r\n")
            client.reply()
            client.write(b"YWxp")
        other.expect("EHLO client.example.net", "250")
        before = server.memory()
        flood = [Dialogue(server.submission_port) for _ in range(200)]
        for client in flood:
            client.expect("EHLO client.example.net", "250")
            client.expect("AUTH PLAIN", "334")
            client.write(b"A" * 12_000)
        other.expect("NOOP", "250")
        assert server.memory() - before < 16_384, (before, server.memory())
        for client in flood:
            client.close()


@test("logins that cost bcrypt 12 delay nobody else's replies", limit=120)
def _():
    with submission_server(hashed("bcrypt")).start() as server:
        started = time.monotonic()
        assert login(server)[0] == 235
        cost = time.monotonic() - started
        finished = threading.Event()

        def log_in_again_and_again():
            while not finished.is_set():
                try:
                    login(server)
                except (OSError, smtplib.SMTPException):
                    return  # the server is gone, as another assertion says

        with Dialogue(server.port) as other:
            other.expect("EHLO client.example.net", "250")

            def replies(seconds):
                times = []
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    asked = time.monotonic()
                    other.expect("NOOP", "250")
                    times.append(time.monotonic() - asked)
                    if len(times) % 40 == 39:  # an envelope, so that NOOPs do not count as too many
                        other.expect("MAIL FROM:<a@example.net>", "250")
                        other.expect("RCPT TO:<bob@example.org>", "250")
                        other.expect("DATA", "354")
                        other.write(b"\r\n.\r\n")
                        other.reply()
                return sorted(times)

            alone = replies(1)
            clients = [threading.Thread(target=log_in_again_and_again) for _ in range(6)]
            for client in clients:
                client.start()
            try:
                beside = replies(3)
            finally:
                finished.set()
                for client in clients:
                    client.join()
        logins = len(server.events("login.succeeded"))
        middle = lambda times: statistics.median(times)
        late = lambda times: times[len(times) * 95 // 100]
        print(f"     a login takes {cost * 1000:.0f} ms; replies beside {logins} of them: median {middle(beside) * 1000:.2f} ms, 95 % {late(beside) * 1000:.2f} ms, "
              f"without: {middle(alone) * 1000:.2f} ms, {late(alone) * 1000:.2f} ms")
        assert late(beside) < max(cost / 4, 0.03), (late(beside), cost)


@test("the log in Postfix's words is what fail2ban's filter for Postfix looks for")
def _():
    with submission_server(hashed("sha256crypt"), logging={"format": "text"}).spawn() as server:
        wait_for(lambda: "daemon started" in server.log_path.read_text(), what="a start")
        login(server, password="wr0ng", source="127.0.0.9")
        assert login(server)[0] == 235
        wait_for(lambda: "SASL PLAIN authentication failed" in server.log_path.read_text(), what="the line")
        [line] = [line for line in server.log_path.read_text().splitlines() if "SASL" in line]
        assert "postfix/submission/smtpd[" in line and "warning: unknown[127.0.0.9]: SASL PLAIN authentication failed: wrong name or password, sasl_username=alice" in line, line
        copy = server.directory / "mail.log"
        copy.write_text(line + "\n")
        done = run("fail2ban-regex", copy, "/etc/fail2ban/filter.d/postfix.conf[mode=auth]")
        assert "1 matched" in done.out, done.out
        assert "wr0ng" not in server.log_path.read_text()
