"""`valija plan`: what would change, compared with the running server and its queue, or with another file."""

import json

from kit import *


def write(server, name, **keys):
    path = server.directory / name
    path.write_text(to_yaml(server.keys(keys)) + "\n")
    return path


def plan(server, path, code, *options):
    done = server.valija("plan", path, *options)
    assert done.returncode == code, (done.returncode, done.out)
    return done.out


def planned(server, path, code, *options):
    return json.loads(plan(server, path, code, "--json", *options))


def names(changes):
    return [change["name"] for change in changes]


@test("the manifest in force, whatever its name and its comments, is no change: exit 0")
def _():
    with Server() as server:
        same = server.directory / "same.yaml"
        same.write_text("# a comment\n" + server.manifest_path.read_text())
        assert plan(server, same, 0).startswith("No changes: "), "text"
        assert planned(server, same, 0)["changed"] is False


@test("addresses, clients, listeners and values that would change are shown, and are what happens after the reload")
def _():
    with Server(users={"alice": {}, "bob": {}}, aliases={"postmaster": "alice", "info": "alice", "old": "bob"}) as server:
        more = free_port()
        keys = dict(
            users={"alice": {}, "carol": {}}, aliases={"postmaster": "alice", "info": ["alice", "carol"], "sales": "alice"},
            domains={"example.org": {}, "example.com": {"kind": "virtual", "addresses": {"hello": "alice", "*": "carol"}}},
            networks=["127.0.0.0/8", "10.0.0.0/8"], limits={"message_size": "1MiB"},
            listen={"smtp": [f"127.0.0.1:{server.port}", f"127.0.0.1:{more}"], "health": [f"127.0.0.1:{server.health_port}"]})
        path = write(server, "new.yaml", **keys)
        changes = planned(server, path, 2)
        addresses = changes["addresses"]
        assert names(addresses["begin"]["changes"]) == ["hello@example.com", "postmaster@example.com", "*@example.com", "carol@example.org", "sales@example.org"], addresses
        assert names(addresses["cease"]["changes"]) == ["bob@example.org", "old@example.org"], addresses
        assert addresses["lead_elsewhere"]["changes"] == [{"name": "info@example.org", "from": "alice", "to": "alice, carol"}], addresses
        assert changes["relaying"] == [{"name": "10.0.0.0/8", "from": None, "to": "may relay"}]
        assert changes["listeners"] == [{"name": f"smtp 127.0.0.1:{more}", "from": None, "to": "open"}]
        assert {change["name"]: change["to"] for change in changes["values"]["changes"]} == {"limits.message_size": "1MiB", "domains.example.com.kind": "virtual"}
        text = plan(server, path, 2)
        for line in ("  + hello@example.com: alice", "  + *@example.com: carol", "  - bob@example.org: bob", "  ~ info@example.org: alice → alice, carol",
                     "  + 10.0.0.0/8: may relay", f"  + smtp 127.0.0.1:{more}: open", "→ 1MiB",
                     "Plan: 5 to be accepted, 2 to cease, 1 to lead elsewhere; 4 other changes; 0 messages queued."):
            assert line in text, (line, text)
        assert "\x1b" not in text
        # The server agrees, before and after.
        def answers():
            with Dialogue(server.port) as client:
                client.expect("EHLO client.example.net", "250")
                client.expect("MAIL FROM:<sender@example.net>", "250")
                asked = ["hello@example.com", "postmaster@example.com", "anything@example.com", "carol@example.org", "sales@example.org",
                         "bob@example.org", "old@example.org", "info@example.org"]
                return [client.ask(f"RCPT TO:<{address}>")[:3] for address in asked]
        # example.com is outside now, and loopback may relay: the address is taken, though not as ours.
        assert answers()[3:] == ["550", "550", "250", "250", "250"], answers()
        write(server, "mail.yaml", **keys)
        assert server.valija("reload").returncode == 0
        assert answers() == ["250"] * 5 + ["550", "550", "250"], answers()
        assert plan(server, path, 0)


@test("long lists are counted and cut, and whole with --all; a local domain counts each of its addresses")
def _():
    with Server() as server:
        path = write(server, "new.yaml", users={f"u{n:03}": {} for n in range(50)} | {"alice": {}}, domains={"example.org": {}, "example.net": {}})
        begin = planned(server, path, 2)["addresses"]["begin"]
        assert begin["count"] == 50 + 52 and len(begin["changes"]) == 20, begin["count"]
        assert "… and 82 more (--all shows them)" in plan(server, path, 2)
        whole = planned(server, path, 2, "--all")["addresses"]["begin"]
        assert len(whole["changes"]) == 102 and "u049@example.org" in names(whole["changes"])


@test("queued mail that would go elsewhere is counted by the way from and to, and named")
def _():
    dead = free_port()
    with Server(relayhost=f"[127.0.0.1]:{dead}") as server:
        ids = [server.send(message("outside"), [f"x{n}@elsewhere.example", f"y{n}@elsewhere.example"]) for n in range(3)]
        server.wait_event("delivery.deferred", count=6)
        path = write(server, "new.yaml", relayhost="[127.0.0.2]:2525")
        changes = planned(server, path, 2)
        assert [(r["from"], r["to"], r["messages"], r["queue_ids"]) for r in changes["queue"]] == [(f"[127.0.0.1]:{dead}", "[127.0.0.2]:2525", 3, ids)], changes["queue"]
        assert f"~ [127.0.0.1]:{dead} → [127.0.0.2]:2525: 3 messages ({', '.join(ids)})" in plan(server, path, 2)
        same = write(server, "same.yaml", relayhost=f"[127.0.0.1]:{dead}", users={"alice": {}, "bob": {}, "carol": {}, "dave": {}})
        assert planned(server, same, 2)["queue"] == []


@test("what a reload refuses is marked; --against compares files; a file that is not valid exits 1, no server 69")
def _():
    with Server() as server:
        path = write(server, "new.yaml", queue={"directory": str(server.directory / "other")})
        assert names(planned(server, path, 2, "--manifest", server.manifest_path)["needs_restart"]) == ["queue.directory"]
        assert "needs a restart" in plan(server, path, 2, "--manifest", server.manifest_path)
        broken = write(server, "broken.yaml", aliases={"postmaster": "alise"})
        assert "[dangling-target]" in plan(server, broken, 1)
        assert plan(server, path, 1, "--against", broken)
        server.stop()
        assert "no appliance" in plan(server, server.manifest_path, 69)
        assert plan(server, server.manifest_path, 0, "--against", server.manifest_path)
        assert "queue.directory: " in plan(server, path, 2, "--against", server.manifest_path)
