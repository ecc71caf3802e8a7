"""Messages to send, and messages as they lie in a mailbox."""

import uuid

# What a server adds on top (RFC 5321 §4.4; X-Original-To and Delivered-To as Postfix writes them).
TRACE = ("return-path", "x-original-to", "delivered-to", "received")


def message(subject, body="One line.\r\nAnd another.\r\n", sender="sender@example.net", to="alice@example.org", ident=None,
            extra=()):
    """A complete message as octets, with CRLF line ends."""
    ident = ident or f"<{uuid.uuid4()}@client.example.net>"
    header = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", f"Message-ID: {ident}",
              "Date: Mon, 24 Nov 2025 10:00:00 +0000", *extra]
    text = "\r\n".join(header) + "\r\n\r\n"
    return text.encode() + (body.encode() if isinstance(body, str) else body)


def split_header(data):
    """Octets with LF line ends → ([(name, value)], body). Folded lines are joined as they are."""
    header, _, body = data.partition(b"\n\n")
    fields = []
    for line in header.split(b"\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b"\n" + line)
        else:
            name, _, value = line.partition(b":")
            fields.append((name.decode("ascii"), value.strip()))
    return [(name, value.decode("utf-8", "surrogateescape")) for name, value in fields], body


class Letter:
    """One stored message, with LF line ends."""

    def __init__(self, data, path=None):
        self.data = data
        self.path = path
        self.fields, self.body = split_header(data)

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def __getitem__(self, name):
        values = self.all(name)
        assert len(values) == 1, f"{name} stands {len(values)} times in {self.data[:2000]!r}"
        return values[0]

    @property
    def ident(self):
        return self["Message-ID"]

    def assert_holds(self, sent):
        """The octets of `sent` are here to the last one, and on top of them nothing but trace fields."""
        want = sent.replace(b"\r\n", b"\n")
        assert self.data.endswith(want), f"not the message that was sent:\n got {self.data!r}\nwant {want!r}"
        added = self.data[: len(self.data) - len(want)]
        assert added.endswith(b"\n"), added
        names = {name.lower() for name, _ in split_header(added.rstrip(b"\n") + b"\n\n")[0]}
        assert names <= set(TRACE), f"added: {sorted(names)}"
