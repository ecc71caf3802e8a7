"""An SMTP client that costs little, so that the server is what is measured."""

import socket


class Client:
    """A session that was greeted and said EHLO. A transaction goes in two writes."""

    def __init__(self, port, timeout=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        self.reply()
        self.hello()

    def reply(self):
        """The last line of one; b"" if the server closed."""
        while True:
            line = self.replies.readline()
            if line[3:4] != b"-":
                return line

    def ask(self, octets):
        self.socket.sendall(octets)
        return self.reply()

    def expect(self, octets, replies=1):
        """All of them have to say yes."""
        self.socket.sendall(octets)
        for _ in range(replies):
            line = self.reply()
            if line[:1] not in (b"2", b"3"):
                raise SystemExit(f"refused: {line}")

    def hello(self):
        self.ask(b"EHLO client.example.net\r\n")

    def begin(self, recipient):
        """What comes before the content."""
        self.expect(f"MAIL FROM:<sender@example.net>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), 3)

    def send(self, recipient, content):
        """`content` with its last line, the dot."""
        self.begin(recipient)
        self.expect(content)

    def close(self):
        self.replies.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
