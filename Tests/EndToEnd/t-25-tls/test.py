"""TLS in: versions, names, kinds of keys, resumption, renewal, what is told of bad files; with openssl, swaks, curl and smtplib."""

import os
import re
import shutil
import smtplib
import ssl

from kit import *
from kit.certificates import Authority, fingerprint

HERE = Authority(SCRATCH / "authority")


def tls(*chains, **keys):
    pairs = [chain for chain in chains]
    one = len(pairs) == 1
    return {"level": "may", "certificate": pairs[0][0] if one else [c for c, _ in pairs],
            "key": pairs[0][1] if one else [k for _, k in pairs], **keys}


def client(server, *options, commands="QUIT\r\n", port=None):
    """What openssl s_client says of a connection with STARTTLS."""
    start = [] if port else ["-starttls", "smtp"]
    return run("openssl", "s_client", "-connect", f"127.0.0.1:{port or server.port}", *start, "-CAfile", HERE.certificate, "-ign_eof", *options,
               input=commands, timeout=20).out


def cipher(text):
    found = re.search(r"New, (TLSv[0-9.]+), Cipher is (\S+)", text) or re.search(r"Reused, (TLSv[0-9.]+), Cipher is (\S+)", text)
    assert found, text
    return found.groups()


@test("TLS 1.2 and 1.3 are spoken and nothing older; the log and Received say which, and ESMTPS")
def _():
    with Server(tls=tls(HERE.issue("mx.example.org"))) as server:
        assert "Verify return code: 0 (ok)" in client(server, "-tls1_3", "-verify_hostname", "mx.example.org")
        assert cipher(client(server, "-tls1_2"))[1].startswith("ECDHE-ECDSA-AES")
        old = client(server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in old, old
        failed = server.wait_event("tls.failed")
        assert "unsupported protocol" in failed["reason"] or "version" in failed["reason"], failed
        with smtplib.SMTP("127.0.0.1", server.port, "client.example.net", 20) as session:
            session.starttls(context=ssl._create_unverified_context())
            session.sendmail("a@example.net", ["alice@example.org"], message("over TLS"))
        [letter] = server.wait_mail("alice", 1)
        received = letter["Received"]
        assert "with ESMTPS id" in received, received
        assert re.search(r"\(using TLSv1\.3 with cipher TLS_AES_128_GCM_SHA256 \(128 bits\)\)", received), received
        accepted = server.wait_event("message.accepted")
        assert accepted["tls"] == {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256"}, accepted


@test("swaks and curl deliver over STARTTLS, and curl in implicit TLS to submissions")
def _():
    hash = run(BINARY, "password", "--scheme", "sha256crypt", input="correct horse\n").out.strip()
    port = free_port()
    with Server(tls=tls(HERE.issue("mx.example.org")), users={"alice": {"password": hash}, "bob": {}, "carol": {}},
                listen={"submissions": [f"127.0.0.1:{port}"]}) as server:
        done = run("swaks", "--server", f"127.0.0.1:{server.port}", "--tls", "--from", "a@example.net", "--to", "bob@example.org",
                   "--ehlo", "client.example.net")
        assert done.returncode == 0 and "TLS started with cipher" in done.out, done.out
        letter = server.directory / "letter"
        letter.write_bytes(message("curl", sender="alice@example.org"))
        base = ["curl", "-sv", "--cacert", HERE.certificate, "--mail-rcpt", "bob@example.org", "--upload-file", letter]
        done = run(*base, "--ssl-reqd", "--mail-from", "a@example.net", f"smtp://mx.example.org:{server.port}",
                   "--resolve", f"mx.example.org:{server.port}:127.0.0.1")
        assert done.returncode == 0, done.out
        done = run(*base, "--mail-from", "alice@example.org", "--user", "alice:correct horse", f"smtps://mx.example.org:{port}",
                   "--resolve", f"mx.example.org:{port}:127.0.0.1")
        assert done.returncode == 0, done.out
        letters = server.wait_mail("bob", 3)
        assert sorted(re.search(r"with (\w+) id", letter["Received"]).group(1) for letter in letters) == ["ESMTPS", "ESMTPS", "ESMTPSA"]


@test("logins on 587 need STARTTLS first, and are offered after it")
def _():
    hash = run(BINARY, "password", "--scheme", "sha256crypt", input="correct horse\n").out.strip()
    port = free_port()
    with Server(tls={"level": "none"}, users={"alice": {"password": hash}}, listen={"submission": [f"127.0.0.1:{port}"]}) as server:
        with Dialogue(port) as session:
            assert "AUTH" not in session.ask("EHLO client.example.net")
            session.expect("MAIL FROM:<alice@example.org>", "530 5.7.0 Must issue a STARTTLS command first")
        with smtplib.SMTP("127.0.0.1", port, "client.example.net", 20) as session:
            session.starttls(context=ssl._create_unverified_context())
            session.login("alice", "correct horse")
            session.sendmail("alice@example.org", ["alice@example.org"], message("submitted", sender="alice@example.org"))
        [letter] = server.wait_mail("alice", 1)
        assert "with ESMTPSA id" in letter["Received"]
        made = server.wait_event("certificate.loaded")
        assert made["reason"].startswith("self-signed"), made


@test("with RSA and ECDSA together each client gets what it can use; with SNI the certificate of the name")
def _():
    ec, rsa = HERE.issue("mx.example.org"), HERE.issue("mx.example.org", "rsa")
    other = HERE.issue("mail.shop.example")
    keys = tls(ec, rsa, certificates={"mail.shop.example": {"certificate": other[0], "key": other[1]}})
    with Server(tls=keys) as server:
        assert "ECDSA" in cipher(client(server, "-tls1_2"))[1]
        assert "ECDHE-RSA" in cipher(client(server, "-tls1_2", "-cipher", "aRSA"))[1]
        assert "rsa" in client(server, "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256").lower()
        for name, subject in [("mail.shop.example", "mail.shop.example"), ("MAIL.shop.example", "mail.shop.example"),
                              ("nobody.example", "mx.example.org")]:
            said = client(server, "-servername", name)
            assert re.search(r"subject=\s*CN\s*=\s*" + re.escape(subject), said), said
        said = client(server, "-noservername")
        assert re.search(r"subject=\s*CN\s*=\s*mx\.example\.org", said), said


@test("sessions are resumed, by TLS 1.2 and 1.3, and also after the certificate was renewed")
def _():
    directory = SCRATCH / "renewed"
    directory.mkdir()
    chain, key = directory / "chain.pem", directory / "key.pem"
    for source, target in zip(HERE.issue("mx.example.org", file="first"), (chain, key)):
        shutil.copy2(source, target)
    with Server(tls={"level": "may", "certificate": str(chain), "key": str(key)}) as server:
        for version in ["-tls1_2", "-tls1_3"]:
            kept = directory / f"session{version}"
            assert "New, TLSv" in client(server, version, "-sess_out", kept)
            assert "Reused, TLSv" in client(server, version, "-sess_in", kept)
        assert server.wait_event("session.encrypted", message="resumed")
        with smtplib.SMTP("127.0.0.1", server.port, "client.example.net", 20) as open_session:
            open_session.starttls(context=ssl._create_unverified_context())
            second = HERE.issue("mx.example.org", file="second")
            for source, target in zip(second, (chain, key)):
                shutil.copy2(source, target)
            server.wait_event("manifest.loaded", reason="a certificate changed", timeout=20)
            shown = fingerprint(second[0]).lower()
            assert shown in server.events("certificate.loaded")[-1]["message"]
            said = client(server)
            pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.S).group(0)
            assert pem in open(second[0]).read()
            assert "Reused, TLSv" in client(server, "-tls1_2", "-sess_in", directory / "session-tls1_2")
            # The session from before goes on as if nothing had been.
            open_session.sendmail("a@example.net", ["alice@example.org"], message("still there"))
        server.wait_mail("alice", 1)
        # A pair that does not fit is refused, and what was loaded stays.
        shutil.copy2(HERE.issue("mx.example.org", file="third")[0], chain)
        refused = server.wait_event("manifest.refused", timeout=20)
        assert "not that of the certificate" in refused["reason"], refused
        assert pem in client(server)


@test("check --files and serve tell each fault of the files by name and line")
def _():
    good, other = HERE.issue("mx.example.org"), HERE.issue("b.example.org")
    old = HERE.issue("old.example.org", days=-1)
    public = HERE.issue("public.example.org")
    os.chmod(public[1], 0o644)
    for (chain, key), says in [
        ((good[0], "/nonexistent/key.pem"), "cannot read /nonexistent/key.pem: No such file or directory"),
        ((good[0], other[1]), "the key is not that of the certificate"),
        (old, "the certificate expired on "),
        (public, "every user of this host may read the key (mode 644)"),
        ((good[1], good[1]), "holds no certificate in PEM"),
    ]:
        server = Server(start=False, tls=tls((chain, key)))
        done = run(BINARY, "check", "--files", server.manifest_path)
        assert done.returncode == 1 and says in done.out, done.out
        assert run(BINARY, "check", server.manifest_path).returncode == 0
        server.spawn()
        assert server.process.wait(15) != 0
        assert says in server.errors() + server.log_path.read_text(), server.errors()


@test("a client whose certificate the manifest names may relay, another may not")
def _():
    friend, stranger = HERE.issue("friend.example"), HERE.issue("stranger.example")
    with Server(networks=[], tls=tls(HERE.issue("mx.example.org"), relay_clientcerts=[fingerprint(friend[0])])) as server:
        for (chain, key), reply in [(friend, "250 2.1.5"), (stranger, "554 5.7.1")]:
            said = client(server, "-cert", chain, "-key", key, "-tls1_2", "-quiet",
                          commands="EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<x@elsewhere.example>\r\nQUIT\r\n")
            assert reply in said, said
        assert "250 2.1.0" in client(server, "-quiet", commands="EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nQUIT\r\n")
        refused = server.wait_event("message.rejected")
        assert refused["dsn"] == "5.7.1" and "tls" in refused, refused


@test("where TLS is required, mail in clear is refused")
def _():
    with Server(tls={**tls(HERE.issue("mx.example.org")), "level": "encrypt"}) as server:
        with Dialogue(server.port) as session:
            assert "STARTTLS" in session.ask("EHLO client.example.net")
            session.expect("MAIL FROM:<a@example.net>", "530 5.7.0 Must issue a STARTTLS command first")
        # A program of this host needs no TLS to the server's own socket.
        done = server.called("sendmail", "alice@example.org", input="Subject: local\n\nhello\n")
        assert done.returncode == 0, done.out
        server.wait_mail("alice", 1)
