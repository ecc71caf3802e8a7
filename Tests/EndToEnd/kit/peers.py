"""Peers that follow a script: a client that writes raw octets, and a server that answers as it is told."""

import re
import socket
import socketserver
import ssl
import threading


class Dialogue:
    """A raw connection to the server: octets out, whole replies in."""

    def __init__(self, port, host="127.0.0.1", timeout=15, source=None, greeting=True):
        self.socket = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        self.buffer = b""
        if greeting:
            self.greeting = self.reply()

    def write(self, octets):
        self.socket.sendall(octets)

    def line(self):
        """One line without its end; b"" if the peer closed."""
        while b"\r\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def reply(self):
        """One whole reply, its lines joined by a line end; "" if the peer closed."""
        lines = []
        while True:
            line = self.line().decode("utf-8", "replace")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command):
        self.write(command.encode() + b"\r\n")
        return self.reply()

    def expect(self, command, prefix):
        answer = self.ask(command)
        assert answer.startswith(prefix), f"{command!r}: {answer!r}, not {prefix!r}"
        return answer

    def envelope(self, to="alice@example.org", sender="sender@example.net"):
        """EHLO, MAIL and RCPT, all accepted."""
        self.expect("EHLO client.example.net", "250")
        self.expect(f"MAIL FROM:<{sender}>", "250")
        self.expect(f"RCPT TO:<{to}>", "250")
        return self

    def rest(self, timeout=3):
        """All that the server still says, until it closes or is silent for `timeout` seconds."""
        self.socket.settimeout(timeout)
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    break
                self.buffer += more
        except (socket.timeout, ConnectionResetError):
            pass
        rest, self.buffer = self.buffer, b""
        return rest.decode("utf-8", "replace")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Sink:
    """An SMTP server that answers as `answers` says and remembers what it was told.

    `answers(command, argument)` returns a reply such as "550 5.1.1 no", or None for the usual one; commands are
    "connect", "EHLO", "MAIL", "RCPT", "DATA", "." (the end of data), "RSET", "QUIT". `argument` is the address
    between the angles for MAIL and RCPT. A reply that starts with "421" closes the connection.

    With `certificate` (chain, key) it offers STARTTLS, or with `implicit` is in TLS from the first octet. `handshake`, given the
    socket in its place, returns the one to go on with, or None.
    """

    USUAL = {"MAIL": "250 2.1.0 Ok", "RCPT": "250 2.1.5 Ok", "DATA": "354 go on", ".": "250 2.0.0 Ok: taken",
             "RSET": "250 2.0.0 Ok", "NOOP": "250 2.0.0 Ok", "QUIT": "221 2.0.0 Bye", "HELO": "250 sink.example"}

    def __init__(self, answers=lambda command, argument: None, port=None, host="127.0.0.1",
                 extensions=("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"),
                 certificate=None, implicit=False, handshake=None):
        self.answers, self.extensions = answers, extensions
        self.handshake = handshake or (self._shake_hands if certificate else None)
        self.implicit = implicit
        self.encrypted = []  # of each handshake: (version, the name that was asked for)
        self.plain = []  # every line that was heard outside TLS
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            self.context.sni_callback = lambda connection, name, _: setattr(connection, "requested", name)
        self.connections = 0
        self.messages = []  # (sender, [accepted recipients], octets)
        self.transactions = []  # of the same messages, the commands as they came: (MAIL, [RCPT])
        self.commands = []  # every line that was heard, in order
        self.lock = threading.Lock()
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    connection = sink.handshake(self.request) if sink.implicit else self.request
                    if connection:
                        sink._serve(connection, self.request)
                except (OSError, ValueError):
                    pass

        class TCPServer(socketserver.ThreadingTCPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

        self.server = TCPServer((host, port or 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def _shake_hands(self, connection):
        connection = self.context.wrap_socket(connection, server_side=True)
        with self.lock:
            self.encrypted.append((connection.version(), getattr(connection, "requested", None)))
        return connection

    def _serve(self, connection, raw_connection):
        with self.lock:
            self.connections += 1
        reader, writer = connection.makefile("rb"), connection.makefile("wb")
        is_plain = connection is raw_connection
        if self.handshake and is_plain:
            offered = (*self.extensions, "STARTTLS")
        else:
            offered = self.extensions

        def say(reply):
            writer.write(reply.encode() + b"\r\n")
            writer.flush()
            return reply

        if not say(self.answers("connect", "") or "220 sink.example ESMTP").startswith("2"):
            return
        sender, recipients, begun = None, [], ("", [])
        while raw := reader.readline():
            line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
            verb = line.split(" ")[0].upper()
            address = re.search(r"<([^>]*)>", line)
            with self.lock:
                self.commands.append(line)
                if is_plain:
                    self.plain.append(line)
            reply = self.answers(verb, address.group(1) if address else line)
            if verb == "DATA" and not recipients:
                reply = reply or "554 5.5.1 no valid recipients"
            if verb == "EHLO" and not reply:
                for extension in ("sink.example", *offered)[:-1]:
                    say(f"250-{extension}")
                say(f"250 {('sink.example', *offered)[-1]}")
                continue
            if verb == "STARTTLS" and "STARTTLS" in offered and (reply or "220").startswith("220"):
                say(reply or "220 2.0.0 go ahead")
                connection = self.handshake(connection)
                if not connection:
                    return
                is_plain, offered = connection is raw_connection, self.extensions
                reader, writer = connection.makefile("rb"), connection.makefile("wb")
                continue
            reply = say(reply or self.USUAL.get(verb, "502 5.5.1 what?"))
            if verb == "MAIL" and reply[0] == "2":
                sender, recipients, begun = address.group(1), [], (line, [])
            elif verb == "RCPT" and reply[0] == "2":
                recipients.append(address.group(1))
                begun[1].append(line)
            elif verb == "DATA" and reply[0] == "3":
                self._take(reader, say, sender, recipients, begun)
            elif verb in ("QUIT",) or reply.startswith("421"):
                return

    def _take(self, reader, say, sender, recipients, begun):
        data = []
        for raw in reader:
            if raw == b".\r\n":
                break
            data.append(raw[1:] if raw.startswith(b".") else raw)
        else:
            return  # the peer went away in the middle
        if say(self.answers(".", "") or self.USUAL["."])[0] == "2":
            with self.lock:
                self.messages.append((sender, list(recipients), b"".join(data)))
                self.transactions.append(begun)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class StrictSink:
    """A next hop that takes nothing but CRLF for the end of a line, and keeps what came as it came: `contents` are (verb, octets), those by
    DATA as on the wire, dots and all, without the last line. A bare CR or LF outside of BDAT's octets is a `flaw`."""

    def __init__(self, *extensions):
        self.extensions = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", *extensions)
        self.contents, self.commands, self.flaws = [], [], []
        self.refused = set()  # recipients
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        buffer = b""

        def until(end):
            nonlocal buffer
            while end not in buffer:
                more = connection.recv(65536)
                if not more:
                    raise ConnectionError
                buffer += more
            taken, _, buffer = buffer.partition(end)
            return taken

        def say(text):
            connection.sendall(text.encode() + b"\r\n")

        def check(octets):
            if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets):
                self.flaws.append(octets)

        try:
            say("220 strict.example ESMTP")
            accepted, chunks = 0, b""
            while True:
                line = until(b"\r\n")
                check(line)
                self.commands.append(line.decode())
                verb, *words = self.commands[-1].split()
                if verb == "EHLO":
                    say("\r\n".join(f"250-{word}" for word in ("strict.example", *self.extensions)) + "\r\n250 HELP")
                elif verb == "DATA" and accepted:
                    say("354 go on")
                    # The end may come at once, behind the line end of DATA.
                    buffer = b"\r\n" + buffer
                    octets = until(b"\r\n.\r\n")[2:] + b"\r\n"
                    check(octets)
                    self.contents.append(("DATA", octets))
                    say("250 2.0.0 Ok: taken")
                elif verb == "BDAT":
                    while len(buffer) < int(words[0]):
                        more = connection.recv(65536)
                        if not more:
                            raise ConnectionError
                        buffer += more
                    chunks, buffer = chunks + buffer[:int(words[0])], buffer[int(words[0]):]
                    if words[1:] == ["LAST"] and accepted:
                        self.contents.append(("BDAT", chunks))
                    say("250 2.0.0 Ok: taken" if accepted else "554 5.5.1 no valid recipients")
                    chunks = b"" if words[1:] else chunks
                elif verb == "RCPT" and any(address in line.decode() for address in self.refused):
                    say("550 5.1.1 no such user")
                elif verb in ("MAIL", "RCPT", "RSET", "NOOP"):
                    accepted = accepted + 1 if verb == "RCPT" else 0
                    say("250 2.0.0 Ok")
                elif verb == "QUIT":
                    say("221 2.0.0 Bye")
                    return connection.close()
                else:
                    say("554 5.5.1 no valid recipients" if verb == "DATA" else "500 5.5.2 what?")
        except (ConnectionError, OSError):
            connection.close()

    def close(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
