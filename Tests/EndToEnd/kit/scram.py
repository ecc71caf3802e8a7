"""A client's side of SCRAM (RFC 5802, RFC 7677), with channel binding by tls-exporter (RFC 9266) left to others."""

import base64
import hashlib
import hmac
import os


def login(peer, digest, user, password):
    """Logs in on a `Dialogue`. Returns [(what was asked, reply)], the server's proof among them: "proved", or what is wrong."""
    name = {"SHA-1": "sha1", "SHA-256": "sha256"}[digest]
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n={user},r={nonce}"
    heard = [(f"AUTH SCRAM-{digest}", peer.ask(f"AUTH SCRAM-{digest} " + encode("n,," + bare)))]
    if not heard[-1][1].startswith("334 "):
        return heard
    challenge = base64.b64decode(heard[-1][1][4:]).decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    assert fields["r"].startswith(nonce) and fields["r"] != nonce, challenge
    salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    final = f"c={encode('n,,')},r={fields['r']}"
    signed = ",".join([bare, challenge, final]).encode()
    key = hmac.digest(salted, b"Client Key", name)
    proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.new(name, key).digest(), signed, name)))
    reply = peer.ask(encode(f"{final},p={base64.b64encode(proof).decode()}"))
    heard.append(("proof", reply))
    if reply.startswith("334 "):  # the server's proof in a challenge of its own, as RFC 4954 allows
        want = "v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)).decode()
        heard.append(("server", "proved" if base64.b64decode(reply[4:]).decode() == want else "not proved"))
        heard.append(("end", peer.ask("")))
    return heard


def encode(text):
    return base64.b64encode(text.encode()).decode()
