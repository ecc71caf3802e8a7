"""Who speaks for others: XCLIENT, XFORWARD with Debian's Postfix as the sender, and the PROXY protocol, with swaks as the load balancer."""

import socket
import ssl
import struct
import tempfile
import time

from kit import *
from kit.postfix import Postfix

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header2(source, target, family=socket.AF_INET, command=1, ports=(40000, 25), extra=b""):
    body = socket.inet_pton(family, source) + socket.inet_pton(family, target) + struct.pack("!HH", *ports) + extra
    return SIGNATURE + bytes([0x20 | command, 0x11 if family == socket.AF_INET else 0x21]) + struct.pack("!H", len(body)) + body


@test("XCLIENT gives a session another client, with what that one may do; others may not use it")
def _():
    with Server(networks=["127.0.0.1", "192.0.2.0/24"], smtpd={"xclient": ["127.0.0.1"]}) as server:
        with Dialogue(server.port) as proxy:
            assert "XCLIENT NAME ADDR PROTO HELO PORT LOGIN DESTADDR DESTPORT" in proxy.expect("EHLO proxy.example.net", "250")
            proxy.expect("XCLIENT NAME=mail.example.net ADDR=203.0.113.9 HELO=mail PROTO=ESMTP", "220 mx.example.org ESMTP")
            # Not the proxy any more: nothing it might do is left.
            proxy.expect("XCLIENT ADDR=192.0.2.1", "550 5.7.0")
            proxy.expect("MAIL FROM:<sender@example.net>", "250")
            proxy.expect("RCPT TO:<x@elsewhere.example>", "554 5.7.1")
            proxy.expect("RCPT TO:<alice@example.org>", "250")
            proxy.expect("DATA", "354")
            proxy.write(message("by xclient") + b".\r\n")
            assert proxy.reply().startswith("250")
        [letter] = server.wait_mail("alice", 1)
        assert letter["Received"].startswith("from mail (mail.example.net [203.0.113.9])"), letter["Received"]
        refused = server.wait_event("message.rejected", to="x@elsewhere.example")
        assert refused["client"]["address"] == "203.0.113.9" and refused["client"]["name"] == "mail.example.net", refused
        with Dialogue(server.port) as proxy:
            proxy.expect("EHLO proxy.example.net", "250")
            proxy.expect("XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE]", "220")
            proxy.envelope(to="x@elsewhere.example")
        with Dialogue(server.port, source="127.0.0.2") as stranger:
            assert "XCLIENT" not in stranger.expect("EHLO x.example.net", "250")
            stranger.expect("XCLIENT ADDR=127.0.0.1", "550 5.7.0 Error: insufficient authorization")
        done = run("swaks", "--server", "127.0.0.1", "--port", server.port, "--from", "sender@example.net", "--to", "bob@example.org",
                   "--xclient-name", "swaks.example.net", "--xclient-addr", "203.0.113.7")
        assert done.returncode == 0, done.out
        [letter] = server.wait_mail("bob", 1)
        assert "(swaks.example.net [203.0.113.7])" in letter["Received"], letter["Received"]


@test("Debian's Postfix forwards by XFORWARD whom it has a message from, and the log says so; the session stays Postfix's")
def _():
    with Server(networks=["127.0.0.1"], smtpd={"xforward": ["127.0.0.1"]}) as server:
        filtering = Server(start=False, networks=["127.0.0.0/8"], relayhost=f"[127.0.0.1]:{server.port}",
                           domains={"other.example": {}}, origin="other.example", users={"dave": {}}, aliases={"postmaster": "dave"})
        done = run(BINARY, "render", filtering.manifest_path, "-o", filtering.directory / "etc")
        assert done.returncode == 0, done.out
        with open(filtering.directory / "etc" / "main.cf", "a") as file:
            file.write("smtp_send_xforward_command = yes\n")
        with Postfix(filtering.directory / "etc", filtering.directory / "pf", filtering.port), \
                Dialogue(filtering.port, source="127.0.0.3") as client:
            client.envelope(to="alice@example.org")
            client.expect("DATA", "354")
            client.write(message("by xforward") + b".\r\n")
            answer = client.reply()
            assert answer.startswith("250"), answer
            accepted = server.wait_event("message.accepted")
            assert accepted["client"]["address"] == "127.0.0.1", accepted
            assert accepted["origin"]["address"] == "127.0.0.3" and accepted["origin"]["helo"] == "client.example.net", accepted
            assert accepted["origin_id"] == answer.rsplit(" ", 1)[1], (accepted, answer)
        server.wait_mail("alice", 1)


def open_at(port, octets, source=None):
    client = Dialogue(port, greeting=False, source=source)
    client.write(octets)
    return client


@test("a load balancer says for whom it speaks in version 1 or 2 of the PROXY protocol, at once or octet by octet; that client is the client")
def _():
    port = free_port()
    with Server(networks=["192.0.2.0/24", "2001:db8::/32"]) as plain:
        pass
    listen = {"smtp": [f"127.0.0.1:{plain.port}", f"127.0.0.1:{port}"], "proxy_protocol": [f"127.0.0.1:{port}"], "proxies": ["127.0.0.1"]}
    with Server(networks=["192.0.2.0/24", "2001:db8::/32"], listen=listen) as server:
        for header, address, may_relay in [
            (b"PROXY TCP4 203.0.113.9 192.0.2.25 40000 25\r\n", "203.0.113.9", False),
            (b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n", "192.0.2.7", True),
            (b"PROXY TCP6 2001:db8::7 2001:db8::25 40000 25\r\n", "2001:db8::7", True),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1", False),
            (header2("203.0.113.9", "192.0.2.25"), "203.0.113.9", False),
            (header2("192.0.2.8", "192.0.2.25", extra=b"\x04\0\x01\0"), "192.0.2.8", True),
            (header2("2001:db8::9", "2001:db8::25", socket.AF_INET6), "2001:db8::9", True),
            (header2("192.0.2.9", "192.0.2.25", command=0), "127.0.0.1", False),
        ]:
            for pieces in ([header], [header[i:i + 1] for i in range(len(header))]):
                with Dialogue(port, greeting=False) as client:
                    for piece in pieces:
                        client.write(piece)
                    assert client.reply().startswith("220 "), header
                    client.expect("EHLO client.example.net", "250")
                    client.expect("MAIL FROM:<sender@example.net>", "250")
                    client.expect("RCPT TO:<x@elsewhere.example>", "250" if may_relay else "554 5.7.1")
                    client.expect("QUIT", "221")
            wait_for(lambda: any(event["client"]["address"] == address for event in server.events("session.closed")), what=f"a session of {address}")
        # The other port hears no such thing, and who says it there is no client.
        with open_at(plain.port, b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n") as client:
            assert not client.reply().startswith("250")
        done = run("swaks", "--server", "127.0.0.1", "--port", port, "--from", "sender@example.net", "--to", "alice@example.org", "--proxy-version", "2",
                   "--proxy-family", "AF_INET", "--proxy-protocol", "STREAM", "--proxy-source", "203.0.113.77", "--proxy-source-port", "4711", "--proxy-dest", "192.0.2.25",
                   "--proxy-dest-port", "25")
        assert done.returncode == 0, done.out
        [letter] = server.wait_mail("alice", 1)
        assert "[203.0.113.77])" in letter["Received"], letter["Received"]


@test("where TLS comes first, its first octets may come with the PROXY header, and are TLS's")
def _():
    port = free_port()
    listen = {"submissions": [f"127.0.0.1:{port}"], "proxy_protocol": [f"127.0.0.1:{port}"], "proxies": ["127.0.0.1"]}
    with Server(tls={"certificate": "self-signed"}, listen=listen) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = ssl._create_unverified_context().wrap_bio(incoming, outgoing)
        octets = b"PROXY TCP4 203.0.113.9 192.0.2.25 40000 465\r\n"
        with open_at(port, b"") as client:
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.write(octets + outgoing.read())
                    octets = b""
                    more = client.socket.recv(65536)
                    assert more, "closed in the handshake"
                    incoming.write(more)
            client.write(outgoing.read())
        assert server.wait_event("session.encrypted")["client"]["address"] == "203.0.113.9"


@test("what is no PROXY header ends the connection without a word, and so does none within five seconds; who is no proxy is taken as itself")
def _():
    port = free_port()
    with Server(listen={"smtp": [f"127.0.0.1:{port}"], "proxy_protocol": [f"127.0.0.1:{port}"], "proxies": ["127.0.0.1"]}) as server:
        for octets in (b"EHLO client.example.net\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.25 40000\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25" + b" " * 100,
                       SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12, header2("192.0.2.7", "192.0.2.25")[:13] + b"\x12\0\x0c" + b"\0" * 12):
            with open_at(port, octets) as client:
                assert client.rest() == "", octets
        assert "PROXY protocol: " in server.wait_event("message.rejected", count=5)[0]["reason"]
        started = time.monotonic()
        with open_at(port, b"PROXY TCP4 192.0.2.7") as client:
            assert client.rest(timeout=10) == "" and 4 < time.monotonic() - started < 9
        with Dialogue(port, source="127.0.0.2") as client:
            assert client.greeting.startswith("220 ")
        # What a client sends before it is greeted is too early, also through a proxy.
        with open_at(port, b"PROXY TCP4 203.0.113.9 192.0.2.25 40000 25\r\nEHLO early.example\r\n") as client:
            assert client.reply().startswith("554 5.5.0")
