"""Certificates for tests, by openssl: a small authority, and what it signs."""

import os
import pathlib

from .server import run


class Authority:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = self.directory / "ca-key.pem", self.directory / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj", "/CN=Test CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, kind="ec", days=60, file=None):
        """(chain, key): PEM files of a certificate for `name`; `kind` is ec or rsa. `days` may lie behind."""
        file = file or f"{name}-{kind}"
        chain, key, request = (self.directory / f"{file}{end}" for end in (".pem", "-key.pem", ".csr"))
        new = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", *new, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self.directory / f"{file}.ext"
        extensions.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", chain)
        chain.write_text(chain.read_text() + self.certificate.read_text())
        os.chmod(key, 0o600)
        return str(chain), str(key)


def openssl(*arguments):
    done = run("openssl", *arguments)
    assert done.returncode == 0, done.out
    return done.out


def fingerprint(chain):
    """SHA-256, as `openssl x509` prints it."""
    return openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", chain).strip().split("=")[1]
