"""Where an address leads: aliases, extensions, virtual and relay domains."""

from kit import *

SITE = {
    "address_extension": "+",
    "domains": {
        "example.org": {},
        "example.com": {},
        "customer.example": {"kind": "virtual", "addresses": {"info": ["alice", "bob"], "sales": "team@example.org", "away": "someone@elsewhere.example", "*": "carol"}},
        "strict.example": {"kind": "virtual", "addresses": {"one": "alice"}},
    },
    "users": {"alice": {}, "bob": {}, "carol": {}, "dave": {"forward": ["bob"], "keep_copy": True}, "erin": {"forward": ["carol"]}},
    "aliases": {
        "postmaster": "root", "root": "alice",
        "team": ["alice", "bob"],
        "both": ["team", "alice", "bob@example.com", "carol"],
        "bob": ["bob", "alice"],
    },
}


def subjects(server, user):
    return sorted(letter["Subject"] for letter in server.letters(user))


def deliver(server, *recipients, sender="sender@example.net"):
    """Sends one message to these, waits until it is done with, and says who got it."""
    subject = "to " + ", ".join(recipients)
    server.send(message(subject), recipients, sender)
    server.wait_queue_empty()
    got = {}
    for user in server.mail.iterdir():
        count = subjects(server, user.name).count(subject)
        if count:
            got[user.name] = count
    return got


CASES = [
    # recipients → who gets how many copies
    (["alice@example.org"], {"alice": 1}),
    (["Alice@EXAMPLE.com"], {"alice": 1}),
    (["alice+lists@example.org"], {"alice": 1}),
    (["carol+a+b@example.com"], {"carol": 1}),
    (["team@example.org"], {"alice": 1, "bob": 1}),
    (["team+x@example.org"], {"alice": 1, "bob": 1}),
    # An alias of one's own name is the mailbox; by three ways to it, one copy.
    (["bob@example.org"], {"alice": 1, "bob": 1}),
    (["both@example.org"], {"alice": 1, "bob": 1, "carol": 1}),
    (["alice@example.org", "alice@example.com", "team@example.org"], {"alice": 1, "bob": 1}),
    (["root@example.org"], {"alice": 1}),
    # postmaster: everywhere, and bare (RFC 5321 §4.5.1)
    (["postmaster@example.org"], {"alice": 1}),
    (["postmaster@customer.example"], {"carol": 1}),  # the catch-all names it
    (["postmaster@strict.example"], {"alice": 1}),
    (["Postmaster"], {"alice": 1}),
    # Virtual domains are address spaces of their own.
    (["info@customer.example"], {"alice": 1, "bob": 1}),
    (["info+x@customer.example"], {"alice": 1, "bob": 1}),
    (["sales@customer.example"], {"alice": 1, "bob": 1}),
    (["anything@customer.example"], {"carol": 1}),
    (["one@strict.example"], {"alice": 1}),
    # A forward names what any bare name does, here an alias; keep_copy leaves one in the user's own mailbox.
    (["dave@example.org"], {"dave": 1, "bob": 1, "alice": 1}),
    (["erin@example.org"], {"carol": 1}),
]


@test("each address reaches the mailboxes that the manifest says, each mailbox once", limit=120)
def _():
    wrong = []
    with Server(**SITE) as server:
        for recipients, want in CASES:
            got = deliver(server, *recipients)
            if got != want:
                wrong.append(f"{recipients}: got {got}, want {want}")
    assert not wrong, "\n".join(wrong)


@test("X-Original-To is what the client asked for, Delivered-To the mailbox")
def _():
    with Server(**SITE) as server:
        server.send(message("m"), ["info@customer.example"])
        [letter] = server.wait_mail("alice", 1)
        assert letter["X-Original-To"] == "info@customer.example", letter.fields
        assert letter["Delivered-To"] == "alice@example.org", letter.fields


@test("an unknown address gets 550 5.1.1 at RCPT")
def _():
    with Server(**SITE) as server, Dialogue(server.port) as client:
        client.expect("EHLO client.example.net", "250")
        client.expect("MAIL FROM:<sender@example.net>", "250")
        for address in ("nobody@example.org", "nobody+alice@example.org", "two@strict.example", "info@strict.example", "alice@strict.example"):
            client.expect(f"RCPT TO:<{address}>", "550 5.1.1")
        client.expect("DATA", "5")
        refused = server.wait_event("message.rejected", to="nobody@example.org")
        assert refused["reply"].startswith("550 5.1.1") and refused["from"] == "sender@example.net", refused


@test("a relay domain passes on the recipients it names, and refuses the others")
def _():
    with Sink() as sink:
        site = {"domains": {"example.org": {}, "branch.example": {"kind": "relay", "via": f"[127.0.0.1]:{sink.port}", "recipients": ["office"]},
                            "open.example": {"kind": "relay", "via": f"[127.0.0.1]:{sink.port}"}},
                "networks": ["192.0.2.0/24"]}
        with Server(**site) as server:
            with Dialogue(server.port) as client:
                client.expect("EHLO client.example.net", "250")
                client.expect("MAIL FROM:<sender@example.net>", "250")
                client.expect("RCPT TO:<office@branch.example>", "250")
                client.expect("RCPT TO:<nobody@branch.example>", "550 5.1.1")
                client.expect("RCPT TO:<anybody@open.example>", "250")
            sent = message("to the branch")
            server.send(sent, ["office@branch.example", "anybody@open.example"])
            wait_for(lambda: sum(len(entry[1]) for entry in list(sink.messages)) == 2, what="both recipients at the sink")
            assert {address for entry in sink.messages for address in entry[1]} == {"office@branch.example", "anybody@open.example"}
            assert all(entry[0] == "sender@example.net" and entry[2].endswith(sent) for entry in sink.messages)


@test("a virtual address that leads outside goes to the relayhost")
def _():
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{sink.port}", **dict(SITE, networks=["192.0.2.0/24"])) as server:
        server.send(message("away"), ["away@customer.example"])
        wait_for(lambda: sink.messages, what="the message at the sink")
        assert sink.messages[0][:2] == ("sender@example.net", ["someone@elsewhere.example"]), sink.messages[0][:2]
