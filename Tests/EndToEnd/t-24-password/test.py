"""`valija password`: hashes that other programs take, made from a terminal or a pipe, and never from an argument."""

import os
import pty
import subprocess

from kit import *


def made(password, *options):
    return subprocess.run([BINARY, "password", *options], input=password, capture_output=True, timeout=60)


def crypt_by_perl(password, hash):
    """The C library's crypt(3), by a program that is not ours."""
    script = "my ($p, $h) = map { chomp; $_ } <STDIN>; print crypt($p, $h)"
    return subprocess.run(["perl", "-e", script], input=f"{password}\n{hash}\n", capture_output=True, text=True, check=True).stdout


@test("each crypt(3) scheme makes a hash that the C library's crypt confirms, with a new salt each time")
def _():
    for scheme, prefix in [(None, "$y$"), ("yescrypt", "$y$"), ("bcrypt", "$2b$12$"), ("sha512crypt", "$6$"), ("sha256crypt", "$5$")]:
        options = ["--scheme", scheme] if scheme else []
        first, second = (made(b"correct horse\n", *options).stdout.decode().strip() for _ in range(2))
        assert first.startswith(prefix) and first != second, (scheme, first)
        assert crypt_by_perl("correct horse", first) == first, (scheme, first)
        assert crypt_by_perl("correct hors", first) != first


@test("SCRAM keys are those that RFC 5802 computes from the password")
def _():
    import base64, hashlib, hmac
    for scheme, digest in [("scram-sha-256", "sha256"), ("scram-sha-1", "sha1")]:
        text = made(b"pencil\n", "--scheme", scheme).stdout.decode().strip()
        name, rest = text[1:].split("}")
        iterations, *parts = rest.split(",")
        salt, stored, server = map(base64.b64decode, parts)
        salted = hashlib.pbkdf2_hmac(digest, b"pencil", salt, int(iterations))
        key = hmac.new(salted, b"Client Key", digest).digest()
        assert name == scheme.upper() and int(iterations) >= 4096
        assert stored == hashlib.new(digest, key).digest() and server == hmac.new(salted, b"Server Key", digest).digest()


@test("a hash is taken by check as it is")
def _():
    hash = made(b"secret\r\n").stdout.decode().strip()
    manifest = f'apiVersion: valija/v1\nhostname: mx.example.org\ndomains: {{example.org: {{}}}}\nusers: {{alice: {{password: "{hash}"}}}}\naliases: {{postmaster: alice}}\n'
    done = subprocess.run([BINARY, "check", "-"], input=manifest, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert crypt_by_perl("secret", hash) == hash, "the carriage return of a DOS file is no part of it"


@test("on a terminal it asks twice and shows nothing of it")
def _():
    for second, status in [("geheim", 0), ("geheim2", 65)]:
        child, terminal = pty.fork()
        if child == 0:
            os.execv(BINARY, [BINARY, "password", "--scheme", "sha256crypt"])
        seen = b""
        for prompt, answer in [(b"Password: ", "geheim"), (b"Again: ", second)]:
            while not seen.endswith(prompt):
                seen += os.read(terminal, 1024)
            os.write(terminal, answer.encode() + b"\n")
        try:
            while chunk := os.read(terminal, 1024):
                seen += chunk
        except OSError:
            pass  # the terminal's end
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status, seen
        assert b"geheim" not in seen, seen
        assert (b"$5$" in seen) == (status == 0), seen


@test("nothing, too much, and a NUL are refused, and an argument is no password")
def _():
    for bad in [b"", b"\n", b"a\0b\n", b"x" * 2000]:
        done = made(bad)
        assert done.returncode == 65 and not done.stdout and b"octets" in done.stderr, (bad[:5], done)
    assert made(b"x\n", "secret").returncode == 64
    assert made(b"x\n", "--scheme", "md5").returncode == 64
