"""Mailboxes that Dovecot keeps: delivery by LMTP over a Unix socket and over TCP, with a reply for each recipient."""

from kit import *
from kit.dovecot import Dovecot


for name in "a Unix socket", "TCP":
    @test(f"mail for users reaches their mailboxes at Dovecot over {name}, one message for several of them in one transaction")
    def _(name=name):
        with Dovecot() as dovecot, Server(mailboxes={"via": f"lmtp:unix:{dovecot.socket}" if name != "TCP" else f"lmtp:[127.0.0.1]:{dovecot.port}"},
                                          users={"alice": {}, "bob": {}, "full": {}}) as server:
            sent = message("to Dovecot", ".\r\n..\r\nGrüße\r\n")
            queue_id = server.send(sent, ["alice@example.org", "bob@example.org"])
            events = server.wait_event("delivery.sent", count=2, queue_id=queue_id)
            assert {event["to"] for event in server.events("delivery.sent", queue_id=queue_id)} == {"alice@example.org", "bob@example.org"}, (events, dovecot.log())
            for user in "alice", "bob":
                [letter] = wait_for(lambda: dovecot.letters(user), what=f"{user}'s mail")
                assert letter.replace(b"\r\n", b"\n").endswith(sent.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n")), letter
                assert b"Return-Path: <sender@example.net>" in letter, letter
            server.wait_queue_empty()
            assert not list(server.mail.iterdir()), "nothing lies in mailboxes.directory"


@test("of two recipients Dovecot knows one: the other comes back, and only that one")
def _():
    with Dovecot(users=("alice",)) as dovecot, Server(mailboxes={"via": f"lmtp:unix:{dovecot.socket}"}) as server:
        queue_id = server.send(message("half"), ["alice@example.org", "bob@example.org"], sender="alice@example.org")
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["to"] == "bob@example.org" and bounced["dsn"] == "5.1.1", (bounced, dovecot.log())
        server.wait_event("delivery.sent", queue_id=queue_id)
        assert [event["to"] for event in server.events("delivery.sent", queue_id=queue_id)] == ["alice@example.org"]
        # The message, and the report, which is mail for a mailbox too.
        wait_for(lambda: len(dovecot.letters("alice")) == 2, what="the message and the report")


@test("LMTP: each recipient is told by its own reply after the content; who is deferred is tried again alone")
def _():
    import socketserver
    import threading

    heard = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            def say(*lines):
                self.wfile.write("".join(line + "\r\n" for line in lines).encode())
            recipients = []
            say("220 lmtp.example LMTP")
            for raw in self.rfile:
                line = raw.decode().strip()
                heard.append(line)
                verb = line.split(" ")[0].upper()
                if verb == "LHLO":
                    say("250-lmtp.example", "250 PIPELINING")
                elif verb == "RCPT":
                    recipients.append(line)
                    say("250 2.1.5 Ok")
                elif verb == "DATA":
                    say("354 go on")
                    while self.rfile.readline() != b".\r\n":
                        pass
                    say(*["452 4.2.2 full for now" if "bob" in recipient and len(recipients) > 1 else "250 2.0.0 saved" for recipient in recipients])
                    recipients = []
                else:
                    say("250 2.0.0 Ok")

    class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = SCRATCH / "lmtp.sock"
    peer = UnixServer(str(path), Handler)
    threading.Thread(target=peer.serve_forever, daemon=True).start()
    try:
        with Server(mailboxes={"via": f"lmtp:unix:{path}"}) as server:
            queue_id = server.send(message("two"), ["alice@example.org", "bob@example.org"])
            deferred = server.wait_event("delivery.deferred", queue_id=queue_id)
            assert deferred["to"] == "bob@example.org" and deferred["dsn"] == "4.2.2", deferred
            server.wait_queue_empty()
            assert [line for line in heard if line.startswith("RCPT")].count("RCPT TO:<bob@example.org>") == 2, heard
            assert not any(line.startswith(("EHLO", "HELO")) for line in heard), heard
    finally:
        peer.shutdown()
