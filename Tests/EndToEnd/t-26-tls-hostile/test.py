"""Bad input to TLS: injection before the handshake, handshakes cut short, garbage, renegotiation, half-open floods. Others are unharmed."""

import smtplib
import socket
import ssl
import struct
import time

from kit import *


def server_with_tls(**keys):
    port = free_port()
    server = Server(tls={"level": "may"}, listen={"submissions": [f"127.0.0.1:{port}"]}, **keys)
    server.submissions = port
    return server


def unverified():
    return ssl._create_unverified_context()


def begin_tls(server, extra=b""):
    """A raw socket after `220 Ready to start TLS`; `extra` is sent in the same segment as STARTTLS."""
    session = Dialogue(server.port)
    session.ask("EHLO client.example.net")
    session.write(b"STARTTLS\r\n" + extra)
    assert session.reply().startswith("220 2.0.0"), "no STARTTLS"
    return session


def delivers(server):
    """Others are served."""
    started = time.monotonic()
    with smtplib.SMTP("127.0.0.1", server.port, "client.example.net", 20) as other:
        other.starttls(context=unverified())
        other.sendmail("a@example.net", ["alice@example.org"], message("meanwhile"))
    return time.monotonic() - started


@test("commands that were injected before the handshake are dropped, and so is what was said before")
def _():
    with server_with_tls() as server:
        session = begin_tls(server, extra=b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\nRSE")
        raw = unverified().wrap_socket(session.socket)
        raw.sendall(b"NOOP\r\nRCPT TO:<alice@example.org>\r\nEHLO client.example.net\r\nQUIT\r\n")
        said = b""
        while True:
            more = raw.recv(65536)
            if not more:
                break
            said += more
        lines = said.split(b"\r\n")
        assert lines[0] == b"250 2.0.0 Ok", said
        assert lines[1].startswith(b"503 5.5.1"), said
        assert b"STARTTLS" not in said and b"evil" not in said, said


@test("garbage instead of a ClientHello ends that connection, with a reason in the log")
def _():
    with server_with_tls() as server:
        for octets in [b"NOOP\r\n" * 3, b"\x00" * 64, b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(range(256)) * 40]:
            session = begin_tls(server)
            try:
                session.write(octets)
                while session.socket.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
            raw = socket.create_connection(("127.0.0.1", server.submissions), 15)
            try:
                raw.sendall(octets)
                while raw.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
        failed = server.wait_event("tls.failed", count=10)
        assert all(event["reason"] for event in failed), failed
        delivers(server)


@test("handshakes that are cut short at any octet leave nothing behind")
def _():
    with server_with_tls() as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = unverified().wrap_bio(incoming, outgoing, server_hostname="mx.example.org")
        try:
            handshake.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = outgoing.read()
        for length in range(0, len(hello), 37):
            raw = socket.create_connection(("127.0.0.1", server.submissions), 15)
            raw.sendall(hello[:length])
            if length % 2:  # a reset rather than an end
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        delivers(server)
        wait_for(lambda: len(server.events("session.closed")) == len(server.events("session.opened")), 10, "all sessions closed")


@test("a TLS 1.2 client that asks for a new handshake does not get one")
def _():
    with server_with_tls() as server:
        command = f"(sleep 0.5; echo R; sleep 1) | timeout 10 openssl s_client -connect 127.0.0.1:{server.submissions} -tls1_2"
        done = run("bash", "-c", command, timeout=20)
        assert "RENEGOTIATING" in done.out and "no renegotiation" in done.out, done.out[-2000:]
        assert len(server.events("session.encrypted")) == 1
        delivers(server)


@test("a flood of handshakes that nobody goes on with costs little memory, and others are served")
def _():
    with server_with_tls(limits={"connections_per_client": 2000, "connections": 2000}) as server:
        before = server.memory()
        half_open = []
        for _ in range(500):
            raw = socket.create_connection(("127.0.0.1", server.submissions), 15)
            raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            half_open.append(raw)
        seconds = delivers(server)
        grown = server.memory() - before
        assert seconds < 3, seconds
        assert grown < 60 * 1024, f"{grown} KiB for 500 half-open handshakes"
        for raw in half_open:
            raw.close()
