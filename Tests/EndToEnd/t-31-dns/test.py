"""Names: exchangers, addresses and DNSSEC, as a real name server with signed zones answers. Mail goes to port 25 of
loopback addresses in a network of the case's own."""

from kit import *
from kit.names import NameServer, own_network

own_network("2001:db8::25", "2001:db8::26", *(f"11.0.0.{host}" for host in range(1, 6)))

# `right.example` is signed and its key is known; below it one zone with a key that is not the one its parent knows, and one
# without any. Nothing is known of `plain.example`. Knot cannot read `broken.example`.
RIGHT = """
mx1 A 127.0.0.11
mx2 A 127.0.0.12
six AAAA 2001:db8::25
dead A 127.0.0.19
alsodead AAAA 2001:db8:dead::1
both A 127.0.0.19
both AAAA 2001:db8::26
bothother A 127.0.0.12
bothother AAAA 2001:db8:dead::1
self A 127.0.0.99
order MX 20 mx2
order MX 10 mx1
next MX 10 dead
next MX 20 mx2
nextsix MX 10 alsodead
nextsix MX 20 mx2
lost MX 10 nowhere
part MX 10 nowhere
part MX 20 mx1
implicit A 127.0.0.11
implicitsix AAAA 2001:db8::25
alias CNAME implicit
aliasmx MX 10 aliashost
aliashost CNAME mx2
nil MX 0 .
text TXT "no host"
loop MX 10 mx.example.org.
loop MX 20 mx1
back MX 10 mx1
back MX 20 mx.example.org.
back MX 30 mx2
loopbyaddress MX 10 self
bogushost MX 10 host.bogus
bogus NS ns.bogus
ns.bogus A 127.0.0.1
plain NS ns.plain
ns.plain A 127.0.0.1
""" + "".join(f"pair{number} MX 10 mx1\npair{number} MX 10 mx2\n" for number in range(16))
ZONES = {"right.example.": RIGHT, "bogus.right.example.": "@ MX 10 host\nhost A 127.0.0.11", "plain.right.example.": "@ MX 10 host\nhost A 127.0.0.11",
         "plain.example.": "@ MX 10 mx\nmx A 127.0.0.12", "broken.example.": None}


def names(**options):
    return NameServer(ZONES, signed=["right.example.", "bogus.right.example."], wrong=["bogus.right.example."], **options)


class World:
    """The name server, the sinks, and the server under test, for all cases below."""

    def __enter__(self):
        self.names = names().start()
        self.sinks = {host: Sink(host=host, port=25) for host in ("127.0.0.11", "127.0.0.12", "2001:db8::25", "2001:db8::26")}
        self.server = Server(dns=self.names.keys("right.example."))
        return self

    def __exit__(self, *_):
        self.server.stop()
        for sink in self.sinks.values():
            sink.close()
        self.names.stop()

    def outcome(self, domain):
        """Sends one message there; what became of it: the sink that has it, or the event's code and reply."""
        queue_id = self.server.send(message(f"to {domain}"), [f"someone@{domain}"], sender="alice@example.org")

        def first():
            for event in ("delivery.sent", "delivery.deferred", "delivery.bounced"):
                if found := self.server.events(event, queue_id=queue_id):
                    return found[0]

        found = wait_for(first, 40, f"an outcome for {domain}")
        if found["event"] == "delivery.sent":
            host = found["relay"].split("[")[1].split("]")[0]
            assert any(f"to {domain}".encode() in octets for _, _, octets in self.sinks[host].messages), host
            return host
        self.server.valija("queue", "delete", queue_id)
        return found


def world_test(sentence, **options):
    def mark(function):
        @test(sentence, **options)
        def _():
            with World() as world:
                function(world)
        return function
    return mark


@world_test("mail finds its way by MX, address and alias, by IPv4 and IPv6, whatever of it is dead")
def _(world):
    cases = {
        "order.right.example": "127.0.0.11", "next.right.example": "127.0.0.12", "nextsix.right.example": "127.0.0.12",
        "both.right.example": "2001:db8::26", "bothother.right.example": "127.0.0.12", "part.right.example": "127.0.0.11",
        "implicit.right.example": "127.0.0.11", "implicitsix.right.example": "2001:db8::25", "alias.right.example": "127.0.0.11",
        "aliasmx.right.example": "127.0.0.12", "back.right.example": "127.0.0.11", "plain.right.example": "127.0.0.11",
        "plain.example": "127.0.0.12", "[127.0.0.12]": "127.0.0.12", "[IPv6:2001:db8::25]": "2001:db8::25",
    }
    for domain, host in cases.items():
        found = world.outcome(domain)
        assert found == host, f"{domain}: {found}, not {host}"


@world_test("what cannot be delivered is told apart: never, and not now")
def _(world):
    cases = {
        "missing.right.example": ("delivery.bounced", "5.1.2", "not found"),
        "text.right.example": ("delivery.bounced", "5.4.4", "not found"),
        "lost.right.example": ("delivery.bounced", "5.4.4", "nowhere.right.example not found"),
        "nil.right.example": ("delivery.bounced", "5.1.10", "null MX"),
        "loop.right.example": ("delivery.bounced", "5.4.6", "loops back to myself"),
        "broken.example": ("delivery.deferred", "4.4.3", "SERVFAIL"),
        "bogus.right.example": ("delivery.deferred", "4.4.3", "DNSSEC"),
        "bogushost.right.example": ("delivery.deferred", "4.4.3", "host host.bogus.right.example could not be looked up"),
    }
    for domain, (event, dsn, words) in cases.items():
        found = world.outcome(domain)
        assert not isinstance(found, str), f"{domain} went to {found}"
        assert (found["event"], found["dsn"]) == (event, dsn) and words in found["reply"], f"{domain}: {found}"
    assert not any(sink.messages for sink in world.sinks.values())


@world_test("the load is spread over exchangers of equal preference")
def _(world):
    hosts = [world.outcome(f"pair{number}.right.example") for number in range(16)]
    assert set(hosts) == {"127.0.0.11", "127.0.0.12"}, hosts


@test("a server that an MX record leads back to by its address sees the loop")
def _():
    with names() as server_of_names, Server(start=False, dns=server_of_names.keys("right.example.")) as server:
        text = server.manifest_path.read_text().replace(f'"127.0.0.1:{server.port}"', f'"127.0.0.1:{server.port}", "127.0.0.99:25"')
        server.manifest_path.write_text(text)
        server.start()
        queue_id = server.send(message("home"), ["someone@loopbyaddress.right.example"], sender="alice@example.org")
        bounced = server.wait_event("delivery.bounced", queue_id=queue_id)
        assert bounced["dsn"] == "5.4.6", bounced


@test("dnssec: none believes what is bogus; a reload changes who is asked and what is believed")
def _():
    with NameServer({"other.example.": ""}) as other, names() as server_of_names, Sink(host="127.0.0.11", port=25) as sink, \
            Server(dns={"resolvers": other.resolver, "dnssec": "none"}) as server:
        queue_id = server.send(message("first"), ["someone@bogus.right.example"])
        assert server.wait_event("delivery.deferred", queue_id=queue_id, timeout=40)["dsn"] == "4.4.3"
        server.manifest_path.write_text(server.manifest_path.read_text().replace(other.resolver, server_of_names.resolver))
        done = server.valija("reload")
        assert done.returncode == 0, done.out
        server.wait_event("delivery.sent", queue_id=queue_id)
        assert len(sink.messages) == 1
        server.manifest_path.write_text(server.manifest_path.read_text().replace('"none"', f'"always"\n  trust_anchor: {server_of_names.anchor("right.example.")}'))
        assert server.valija("reload").returncode == 0
        # Not the same domain: a connection to it is still open.
        queue_id = server.send(message("second"), ["someone@bogushost.right.example"])
        assert "DNSSEC" in server.wait_event("delivery.deferred", queue_id=queue_id)["reply"]
        server.manifest_path.write_text(server.manifest_path.read_text().replace("anchor.key", "nowhere.key"))
        refused = server.valija("reload")
        assert refused.returncode == 1 and "nowhere.key cannot be read" in refused.out, refused.out


@test("what lies under domains_insecure is believed without signatures, and nothing beside it")
def _():
    with names() as server_of_names, Sink(host="127.0.0.11", port=25) as sink:
        for insecure, believed in (["bogus.right.example"], True), (["ogus.right.example", "x.bogus.right.example"], False):
            with Server(dns={**server_of_names.keys("right.example."), "domains_insecure": insecure}) as server:
                queue_id = server.send(message("view"), ["someone@bogus.right.example"])
                event = server.wait_event("delivery.sent" if believed else "delivery.deferred", queue_id=queue_id, timeout=40)
                assert believed or "DNSSEC" in event["reply"], event
        assert len(sink.messages) == 1
    refused = Server(start=False, dns={"dnssec": "none", "domains_insecure": ["corp.example"]}).valija("check", "--strict", "mail.yaml")
    assert refused.returncode == 1 and "domains_insecure has no effect" in refused.out, refused.out


@test("resolvers that pass no signatures on are taken at their word, unless the manifest says always")
def _():
    with NameServer({"plain.example.": "@ MX 10 mx\nmx A 127.0.0.12"}) as server_of_names, Sink(host="127.0.0.12", port=25) as sink:
        with Server(dns={"resolvers": [server_of_names.resolver]}) as server:
            queue_id = server.send(message("believed"), ["someone@plain.example"])
            server.wait_event("delivery.sent", queue_id=queue_id, timeout=30)
            [line] = server.events("diagnostic")
            assert "no DNSSEC signatures" in line["message"], line
        with Server(dns={"resolvers": [server_of_names.resolver], "dnssec": "always"}) as server:
            queue_id = server.send(message("not believed"), ["someone@plain.example"])
            assert server.wait_event("delivery.deferred", queue_id=queue_id, timeout=30)["dsn"] == "4.4.3"
        assert len(sink.messages) == 1


# Clients: one whose name leads back to it, one whose does not, one without a name, one whose zone is broken.
CLIENTS = {
    "0.0.11.in-addr.arpa.": "1 PTR good.clients.example.\n2 PTR wrong.clients.example.\n4 NS ns.clients.example.\n5 PTR six.clients.example.",
    "4.0.0.11.in-addr.arpa.": None,
    "clients.example.": "ns A 127.0.0.1\ngood A 11.0.0.1\nwrong A 11.0.0.99\nsix AAAA 2001:db8::26\nmailonly MX 10 good\nb NS ns",
    "b.clients.example.": None,
}
GOOD, WRONG, NAMELESS, BROKEN = (f"11.0.0.{host}" for host in range(1, 5))
BAD_NAME, BARE_NAME = "501 5.5.2 <{}>: Helo command rejected: Invalid name", "504 5.5.2 <{}>: Helo command rejected: need fully-qualified hostname"
NO_HOST = "450 4.7.1 <{}>: Helo command rejected: Host not found"
NO_NAME, NO_REVERSE = "450 4.7.25 Client host rejected: cannot find your hostname, [{}]", "450 4.7.25 Client host rejected: cannot find your reverse hostname, [{}]"


@test("each of smtpd.restrictions lets those pass whom it is not about, and refuses the others in Postfix's words", limit=120)
def _():
    cases = {
        "reject_unknown_client_hostname": [(GOOD, "x", None), (WRONG, "x", NO_NAME), (NAMELESS, "x", NO_NAME), (BROKEN, "x", NO_NAME), ("2001:db8::26", "x", NO_NAME)],
        "reject_unknown_reverse_client_hostname": [(GOOD, "x", None), (WRONG, "x", None), (NAMELESS, "x", NO_REVERSE), (BROKEN, "x", NO_REVERSE)],
        "reject_invalid_helo_hostname": [
            (NAMELESS, helo, None) for helo in ("x", "a_b.example", "[11.0.0.3]", "good.clients.example")] + [
            (GOOD, helo, BAD_NAME) for helo in ("a..b", "-a.example", "a.example-", "a!b.example", "[11.0.0", "a" * 64 + ".example")],
        "reject_non_fqdn_helo_hostname": [
            (NAMELESS, "a.example", None), (NAMELESS, "[11.0.0.3]", None), (GOOD, "x", BARE_NAME), (GOOD, "11.0.0.1", BARE_NAME)],
        "reject_unknown_helo_hostname": [
            (NAMELESS, helo, None) for helo in ("good.clients.example", "six.clients.example", "mailonly.clients.example", "[11.0.0.3]")] + [
            (GOOD, "nowhere.clients.example", NO_HOST), (GOOD, "x.b.clients.example", NO_HOST)],
    }
    with NameServer(CLIENTS) as server_of_names:
        for restriction, clients in cases.items():
            port = free_port()
            with Server(dns={"resolvers": [server_of_names.resolver], "dnssec": "none"}, smtpd={"restrictions": [restriction]}, networks=["127.0.0.1"],
                        listen={"smtp": [f"127.0.0.1:{port}", f"[2001:db8::25]:{port}"]}) as server:
                def outcome(source, helo, to="alice@example.org"):
                    with Dialogue(port, host="2001:db8::25" if ":" in source else "127.0.0.1", source=source) as client:
                        client.expect(f"EHLO {helo}", "250")
                        for command in ("MAIL FROM:<sender@example.net>", f"RCPT TO:<{to}>", "DATA"):
                            reply = client.ask(command)
                            if reply[0] not in "23":
                                return reply
                        client.write(message("passed") + b".\r\n")
                        return client.reply()

                for source, helo, refusal in clients:
                    reply = outcome(source, helo)
                    if refusal is None:
                        assert reply.startswith("250 2.0.0 Ok: queued as "), (restriction, source, helo, reply)
                    else:
                        assert reply.endswith(refusal.format(helo if "<" in refusal else source)[4:]) and reply[:4] == refusal[:4], (restriction, source, helo, reply)
                        event = wait_for(lambda: server.events("message.rejected", reply=reply), what=f"{reply} in the log")[-1]
                        assert event["rule"].endswith("smtpd.restrictions") and event["client"]["address"] == source, event
                # Those in networks are asked nothing.
                assert outcome("127.0.0.1", "..").startswith("250 2.0.0 Ok: queued as "), restriction
                server.wait_queue_empty()
                assert len(server.letters("alice")) == sum(refusal is None for _, _, refusal in clients) + 1, restriction
                # Nobody is refused before it is known who it is: the log has the name that leads back, and no other.
                names = {event["client"]["address"]: event["client"].get("name") for event in server.events("session.opened")}
                assert names.get(GOOD) in (None, "good.clients.example") and names.get(WRONG) is None and names.get(NAMELESS) is None, names


@test("several restrictions hold together, in their order; a name server that is gone puts a stranger off, and nobody of ours")
def _():
    with NameServer(CLIENTS) as server_of_names, Server(
            dns={"resolvers": [server_of_names.resolver], "dnssec": "none"}, networks=["127.0.0.1"],
            smtpd={"restrictions": ["reject_non_fqdn_helo_hostname", "reject_unknown_client_hostname"]}) as server:
        def outcome(source, helo):
            with Dialogue(server.port, source=source, timeout=60) as client:
                client.expect(f"EHLO {helo}", "250")
                replies = [client.ask("MAIL FROM:<sender@example.net>"), client.ask("RCPT TO:<alice@example.org>")]
                return next((reply for reply in replies if reply[0] != "2"), replies[-1])[:8]

        assert outcome(GOOD, "good.clients.example") == "250 2.1.", outcome(GOOD, "good.clients.example")
        assert outcome(WRONG, "x") == "504 5.5." and outcome(WRONG, "x.example") == "450 4.7."
        server_of_names.stop()
        assert outcome("11.0.0.5", "x.example") == "450 4.7."
        assert outcome("127.0.0.1", "x") == "250 2.1."


# The root servers that libunbound knows by itself.
ROOTS = ["198.41.0.4", "170.247.170.2", "199.9.14.201", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4", "198.97.190.53",
         "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33"]


@test("with recursive nobody is asked but the name servers of the world, from the root on, and signatures lead there")
def _():
    for address in ROOTS:
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    root = "@ NS a.root-servers.net.\na.root-servers.net. A 198.41.0.4\nworld NS ns.world\nns.world A 127.0.0.53\n"
    top = NameServer({".": root, "world.": "@ NS ns\nns A 127.0.0.53\n@ MX 10 mx\nmx A 127.0.0.11\nlie NS ns.lie\nns.lie A 127.0.0.53\n",
                      "lie.world.": "@ NS ns\nns A 127.0.0.53\n@ MX 10 mx\nmx A 127.0.0.11\n"},
                     signed=[".", "world.", "lie.world."], wrong=["lie.world."], addresses=[*ROOTS, "127.0.0.53"], port=53)
    with top, Sink(host="127.0.0.11", port=25) as sink, Server(dns={"resolvers": "recursion", "dnssec": "always", "trust_anchor": top.anchor(".")}) as server:
        queue_id = server.send(message("far"), ["someone@world"])
        server.wait_event("delivery.sent", queue_id=queue_id, timeout=40)
        assert len(sink.messages) == 1
        queue_id = server.send(message("false"), ["someone@lie.world"])
        assert "DNSSEC" in server.wait_event("delivery.deferred", queue_id=queue_id, timeout=40)["reply"]


@test("a trust anchor that is none is said at the start")
def _():
    for content, words in ((None, "cannot be read"), ("nonsense here\n", "no trust anchor")):
        path = SCRATCH / "anchor"
        if content:
            path.write_text(content)
        server = Server(start=False, dns={"trust_anchor": str(path)})
        server.spawn()
        assert server.process.wait(10) != 0
        assert words in server.errors() + "".join(str(line) for line in server.events("service.failed")), server.errors()
