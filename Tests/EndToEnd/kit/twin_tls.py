"""What twins and their clients show each other in TLS, and the clients' handshake."""

import shutil
import ssl
import threading

from .certificates import Authority, fingerprint
from .server import SCRATCH


class Credentials:
    """What the twins' servers and clients show each other; made once."""

    made = None
    lock = threading.Lock()

    def __init__(self, directory):
        authority = Authority(directory)
        self.directory, self.certificate = directory, str(authority.certificate)
        for source, target in zip(authority.issue("mx.example.org"), ("fullchain.pem", "privkey.pem")):
            shutil.copy2(source, directory / target)
        self.client = authority.issue("client.example")
        directory.chmod(0o755)

    @classmethod
    def get(cls):
        with cls.lock:
            cls.made = cls.made or cls(SCRATCH / "tls")
            return cls.made

    @classmethod
    def in_place(cls, text):
        """A manifest with what it names."""
        if "/etc/valija/tls" not in text:
            return text
        made = cls.get()
        return text.replace("/etc/valija/tls", str(made.directory)).replace(":".join(["00"] * 32), fingerprint(made.client[0]))


def handshake(peer, words):
    """The version that both agree on, or the error. The server has to show the twins' certificate."""
    made = Credentials.get()
    context = ssl.create_default_context(cafile=made.certificate)
    if "1.2" in words:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if "certificate" in words:
        context.load_cert_chain(*made.client)
    assert not peer.buffer, f"before the handshake: {peer.buffer}"
    peer.socket = context.wrap_socket(peer.socket, server_hostname="mx.example.org")
    return peer.socket.version()
