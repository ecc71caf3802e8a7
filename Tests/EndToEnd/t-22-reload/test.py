"""A manifest that changes while the server runs: put into force wholly or not at all, and nobody is dropped for it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from kit import *


def rewrite(server, **keys):
    """Another manifest in the place of the server's, by a rename, as editors do."""
    fresh = server.manifest_path.with_suffix(".new")
    fresh.write_text(to_yaml(server.keys(keys)) + "\n")
    fresh.replace(server.manifest_path)


def reload(server, code=0, **keys):
    """Changes the manifest and has it loaded; returns what the command printed."""
    rewrite(server, **keys)
    done = server.valija("reload")
    assert done.returncode == code, (done.returncode, done.out)
    return done.out


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


USERS = {"users": {"alice": {}, "bob": {}, "carol": {}, "dave": {}}}


@test("reload puts a changed manifest into force, says so in the log, on /readyz and in the metrics, and exits 0")
def _():
    with Server() as server:
        with Dialogue(server.port) as client:
            client.envelope()
            client.expect("RCPT TO:<dave@example.org>", "550 5.1.1")
        out = reload(server, **USERS)
        assert f"{server.manifest_path} is in force (1 domain, 4 users, 1 alias)" in out, out
        server.send(message("to dave"), ["dave@example.org"])
        server.wait_mail("dave", 1)
        loaded = server.events("manifest.loaded")
        assert len(loaded) == 2 and loaded[1]["rule"] == str(server.manifest_path) and loaded[1]["reason"] == "valija reload", loaded
        metrics = server.http("/metrics")[1]
        assert 'valija_events_total{event="manifest.loaded"} 2\n' in metrics and "\nvalija_manifest_refused 0\n" in metrics, metrics
        out = server.valija("reload")
        assert out.returncode == 0 and "has not changed; it is in force" in out.out, out.out
        out = server.valija("reload", "--json")
        assert json.loads(out.out)["outcome"] == "unchanged", out.out


@test("SIGHUP does the same, also while the server is being started and stopped")
def _():
    with Server() as server:
        rewrite(server, **USERS)
        os.kill(server.pid, signal.SIGHUP)
        server.wait_event("manifest.loaded", reason="SIGHUP")
        server.send(message("to dave"), ["dave@example.org"])
        server.wait_mail("dave", 1)
        for _ in range(20):
            os.kill(server.pid, signal.SIGHUP)
        os.kill(server.pid, signal.SIGTERM)
        try:
            for _ in range(20):
                os.kill(server.pid, signal.SIGHUP)
        except ProcessLookupError:
            pass
        assert server.process.wait(15) == 0


@test("a session goes on: the transaction under way ends by the manifest that it began with, the next begins with the new one")
def _():
    with Server() as server:
        with Dialogue(server.port) as open_transaction, Dialogue(server.port) as idle:
            open_transaction.envelope("bob@example.org")
            idle.expect("EHLO client.example.net", "250")
            reload(server, users={"alice": {}, "dave": {}}, limits={"message_size": "100KiB"})
            # bob is gone from the manifest, and the message is larger than it now allows.
            open_transaction.expect("RCPT TO:<carol@example.org>", "250")
            open_transaction.expect("RCPT TO:<dave@example.org>", "550 5.1.1")
            open_transaction.expect("DATA", "354")
            open_transaction.write(message("large", ("x" * 70 + "\r\n") * 2000) + b".\r\n")
            assert open_transaction.reply().startswith("250 2.0.0"), "the message"
            for client in (open_transaction, idle):
                client.expect("MAIL FROM:<sender@example.net>", "250")
                client.expect("RCPT TO:<carol@example.org>", "550 5.1.1")
                client.expect("RCPT TO:<dave@example.org>", "250")
                client.expect("DATA", "354")
                client.write(message("too large", ("x" * 70 + "\r\n") * 2000) + b".\r\n")
                assert client.reply().startswith("552 5.3.4"), "the limit"
        assert not [line for line in server.events("session.closed") if line.get("reply", "").startswith("421")]


def refused(server, expected, **keys):
    out = reload(server, code=1, **keys)
    for words in expected:
        assert words in out, (words, out)
    return out


@test("a refused manifest changes nothing; the exit code, the log, /readyz, the metrics and health say so until one is in force again")
def _():
    with Server() as server:
        port = free_port()
        good = dict(USERS, networks=["127.0.0.0/8", "10.0.0.0/8"])
        bad = dict(good, aliases={"postmaster": "alise"}, listen={"smtp": [f"127.0.0.1:{server.port}", f"127.0.0.1:{port}"],
                                                                  "health": [f"127.0.0.1:{server.health_port}"]})
        out = refused(server, ['alias target "alise" is neither a user nor an alias', "[dangling-target]", 'did you mean "alice"?',
                               "1 error; refused, what was loaded at "], **bad)
        assert out.count("error:") == 1, out
        line = server.wait_event("manifest.refused")
        assert line["count"] == 1 and "[dangling-target]" in line["reason"] and line["level"] == "error", line
        status, text = server.http("/readyz")
        health = json.loads(text)
        assert status == 200 and health["status"] == "degraded" and "was refused" in health["checks"]["manifest"], text
        assert "\nvalija_manifest_refused 1\n" in server.http("/metrics")[1]
        done = server.valija("health", "--manifest", write(server, "other.yaml", server.keys({})))
        assert done.returncode == 0 and "degraded" in done.out, done.out
        assert not is_open(port)
        with Dialogue(server.port) as client:
            client.envelope()
            client.expect("RCPT TO:<dave@example.org>", "550 5.1.1")
        # No YAML at all, an empty file, none at all.
        for text in ("users: [", "", None):
            if text is None:
                server.manifest_path.unlink()
            else:
                server.manifest_path.write_text(text)
            done = server.valija("reload")
            assert done.returncode == 1 and "refused" in done.out, (text, done.returncode, done.out)
        reload(server, **good)
        assert json.loads(server.http("/readyz")[1])["status"] == "ready"
        assert "\nvalija_manifest_refused 0\n" in server.http("/metrics")[1]
        server.send(message("to dave"), ["dave@example.org"])


def write(server, name, keys):
    path = server.directory / name
    path.write_text(to_yaml(keys) + "\n")
    return path


@test("what cannot change while it runs is refused at its line, and all else of that file with it")
def _():
    with Server() as server:
        elsewhere = server.directory / "elsewhere"
        out = refused(server, ["queue.directory cannot change while the server runs", "[needs-restart]", "hint: stop the server"],
                      **dict(USERS, queue={"directory": str(elsewhere)}))
        line = next(number for number, text in enumerate(server.manifest_path.read_text().splitlines(), 1) if str(elsewhere) in text)
        assert f"{server.manifest_path}:{line}:" in out, out
        assert not elsewhere.exists()
        refused(server, ["logging.format cannot change while the server runs", "[needs-restart]"], **dict(USERS, logging={"format": "text"}))
        blocked = server.directory / "blocked"
        blocked.write_text("a file")
        refused(server, ["mailboxes.directory: ", "[cannot-apply]"], **dict(USERS, mailboxes={"directory": str(blocked / "mail")}))
        with Dialogue(server.port) as client:
            client.envelope()
            client.expect("RCPT TO:<dave@example.org>", "550 5.1.1")
        # Another place for mailboxes is taken, and made.
        moved = server.directory / "moved"
        reload(server, mailboxes={"directory": str(moved)})
        server.send(message("moved"), ["alice@example.org"])
        wait_for(lambda: list((moved / "alice" / "new").glob("*")), what="mail in the new directory")


@test("listeners: new ones open, those that stay do not blink, removed ones close and keep their sessions")
def _():
    with Server() as server:
        new, old, health = free_port(), server.port, server.health_port
        more_health = free_port()

        def listen(smtp, health_ports):
            return {"listen": {"smtp": [f"127.0.0.1:{port}" for port in smtp], "health": [f"127.0.0.1:{port}" for port in health_ports]}}

        with Dialogue(old) as staying, Dialogue(old) as leaving:
            out = reload(server, **listen([old, new], [health, more_health]))
            assert f"opened smtp 127.0.0.1:{new}" in out and f"opened health 127.0.0.1:{more_health}" in out and "closed" not in out, out
            staying.expect("EHLO client.example.net", "250")
            with Dialogue(new) as client:
                client.envelope()
            out = reload(server, **listen([new], [more_health]))
            assert f"closed smtp 127.0.0.1:{old}" in out and f"closed health 127.0.0.1:{health}" in out and "opened" not in out, out
            assert not is_open(old) and not is_open(health)
            # Sessions of the closed listener go on, take what comes into force, and end with the server.
            reload(server, **dict(USERS, **listen([new], [more_health])))
            staying.expect("MAIL FROM:<sender@example.net>", "250")
            staying.expect("RCPT TO:<dave@example.org>", "250")
            staying.expect("DATA", "354")
            staying.write(message("by a closed listener") + b".\r\n")
            assert staying.reply().startswith("250 2.0.0")
            staying.expect("QUIT", "221")
            server.wait_mail("dave", 1)
            assert [line["address"] for line in server.events("listener.closed")] == [f"127.0.0.1:{old}", f"127.0.0.1:{health}"]
            # From one address to every address at the same port, and back: the one takes over from the other.
            reload(server, **{"listen": {"smtp": [f"0.0.0.0:{new}"], "health": [f"127.0.0.1:{more_health}"]}})
            with Dialogue(new) as client:
                client.envelope()
            reload(server, **listen([new], [more_health]))
            with Dialogue(new) as client:
                client.envelope()
            code, seconds = server.stop()
            assert code == 0 and leaving.reply().startswith("421 4.3.2"), code


@test("a listener that cannot be bound refuses the reload as a whole")
def _():
    with Server() as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        fine = free_port()
        ports = [server.port, fine, taken.getsockname()[1]]
        refused(server, [f"cannot listen at 127.0.0.1:{ports[2]}: Address already in use; another program listens there", "[cannot-apply]"],
                **dict(USERS, listen={"smtp": [f"127.0.0.1:{port}" for port in ports], "health": [f"127.0.0.1:{server.health_port}"]}))
        assert not is_open(fine)
        refused(server, ["this server has that port already"],
                **dict(USERS, listen={"smtp": [f"127.0.0.1:{fine}"], "health": [f"127.0.0.1:{server.port}"]}))
        with Dialogue(server.port) as client:
            client.envelope()
            client.expect("RCPT TO:<dave@example.org>", "550 5.1.1")
        assert server.http("/readyz")[0] == 200


@test("under load nothing is lost, refused or cut off by reloads, however many", limit=120)
def _():
    with Server(logging={"level": "info"}) as server:
        source = subprocess.Popen(["/usr/sbin/smtp-source", "-c", "-d", "-s", "8", "-m", "3000", "-l", "2000", "-f", "sender@example.net", "-t", "alice@example.org",
                                   f"127.0.0.1:{server.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        reloads = 0
        spare = free_port()
        while source.poll() is None:
            listen = {"smtp": [f"127.0.0.1:{server.port}"] + ([f"127.0.0.1:{spare}"] if reloads % 2 else []), "health": [f"127.0.0.1:{server.health_port}"]}
            reload(server, **dict(USERS, listen=listen, limits={"message_size": 1_000_000 + reloads}))
            reloads += 1
        assert source.returncode == 0, source.stderr.read()
        assert reloads >= 3, reloads
        server.wait_queue_empty(60)
        assert len(server.events("message.accepted")) == 3000
        assert len(server.letters("alice")) == 3000
        assert not server.events("message.rejected") and not server.events("delivery.bounced")


@test("a new relayhost is for mail that is queued already, too")
def _():
    dead = free_port()
    with Sink() as sink, Server(relayhost=f"[127.0.0.1]:{dead}", queue={"retry": {"minimum": "1s", "maximum": "1s"}}) as server:
        ids = [server.send(message(f"outside {n}"), [f"someone{n}@elsewhere.example"]) for n in range(20)]
        server.wait_event("delivery.deferred", count=20)
        reload(server, relayhost=f"[127.0.0.1]:{sink.port}", queue={"retry": {"minimum": "1s", "maximum": "1s"}})
        server.wait_queue_empty()
        assert len(sink.messages) == 20
        sent = server.events("delivery.sent")
        assert {line["queue_id"] for line in sent} == set(ids) and all(f":{sink.port}" in line["relay"] for line in sent), sent


@test("mail queued for a next hop that answers slowly goes to the new one, though it waited in memory")
def _():
    hold = threading.Event()

    def slowly(command, argument):
        if command == "MAIL":
            hold.wait(30)
            return "451 4.3.0 not any more"

    with Sink(slowly) as slow, Sink() as fast, Server(relayhost=f"[127.0.0.1]:{slow.port}") as server:
        try:
            # As many connections as the queue has for a place that it does not know yet; what comes then, waits.
            sent = 0
            while slow.connections < 5:
                server.send(message(f"outside {sent}"), [f"someone{sent}@elsewhere.example"])
                sent += 1
            for n in range(20):
                server.send(message(f"waiting {n}"), [f"waiting{n}@elsewhere.example"])
            reload(server, relayhost=f"[127.0.0.1]:{fast.port}")
            wait_for(lambda: len(fast.messages) >= 20, what="mail at the new relayhost while the old one sleeps")
        finally:
            hold.set()
        server.wait_queue_empty()
        assert len(fast.messages) == sent + 20, (len(fast.messages), sent)


@test("retry times, limits of connections and the log's level come into force as well")
def _():
    with Server() as server:
        reload(server, limits={"connections_per_client": 1}, logging={"level": "error"})
        before = len(server.log())
        with Dialogue(server.port), Dialogue(server.port, greeting=False) as second:
            assert second.reply().startswith("421 4.7.0")
        server.send(message("quiet"), ["alice@example.org"])
        server.wait_mail("alice", 1)
        assert len(server.log()) == before, server.log()[before:]


# --watch


class Watching(Server):
    def spawn(self):
        return super().spawn(arguments=["--watch"])


@test("--watch: a file written in place or renamed over is loaded; one that is wrong is refused once; one that is put back ends it")
def _():
    with Watching() as server:
        original = server.manifest_path.read_text()
        server.manifest_path.write_text(to_yaml(server.keys(USERS)) + "\n")
        server.wait_event("manifest.loaded", reason="the file changed")
        server.send(message("to dave"), ["dave@example.org"])
        rewrite(server, users={"alice": {}, "erin": {}})
        server.wait_event("manifest.loaded", reason="the file changed", count=2)
        server.send(message("to erin"), ["erin@example.org"])
        good = server.manifest_path.read_text()
        server.manifest_path.write_text(good + "nonsense: 1\n")
        server.wait_event("manifest.refused")
        server.manifest_path.touch()
        time.sleep(3.5)  # nothing is to happen
        assert len(server.events("manifest.refused")) == 1
        assert json.loads(server.http("/readyz")[1])["status"] == "degraded"
        server.manifest_path.unlink()
        server.wait_event("manifest.refused", count=2)
        server.manifest_path.write_text(good)
        wait_for(lambda: json.loads(server.http("/readyz")[1])["status"] == "ready", what="ready again")
        server.send(message("to erin"), ["erin@example.org"])
        assert original != good


@test("--watch: a file that is still being written is left alone until it is at rest")
def _():
    with Watching() as server:
        text = to_yaml(server.keys(USERS)) + "\n"
        cut = text.index('carol')
        with open(server.manifest_path, "w") as file:
            for part in (text[:cut], text[cut:cut + 3], text[cut + 3:cut + 6], text[cut + 6:]):
                file.write(part)
                file.flush()
                time.sleep(0.7)
        server.wait_event("manifest.loaded", reason="the file changed")
        assert not server.events("manifest.refused")
        server.send(message("to dave"), ["dave@example.org"])


@test("--watch: a ConfigMap's volume is followed through the swap of its ..data link")
def _():
    with Watching(start=False) as server:
        volume = server.directory / "volume"

        def publish(name, keys):
            (volume / name).mkdir(parents=True)
            (volume / name / "mail.yaml").write_text(to_yaml(server.keys(keys)) + "\n")
            link = volume / "..data_tmp"
            link.symlink_to(name)
            link.replace(volume / "..data")

        publish("..2026_01", {})
        (volume / "mail.yaml").symlink_to("..data/mail.yaml")
        server.manifest_path = volume / "mail.yaml"
        server.start()
        publish("..2026_02", USERS)
        shutil.rmtree(volume / "..2026_01")
        server.wait_event("manifest.loaded", reason="the file changed")
        server.send(message("to dave"), ["dave@example.org"])
        publish("..2026_03", {"users": "none"})
        server.wait_event("manifest.refused")
        server.send(message("to dave"), ["dave@example.org"])


@test("without --watch a changed file is nobody's business; without a server reload exits 69")
def _():
    with Server() as server:
        rewrite(server, **USERS)
        time.sleep(2.5)
        assert len(server.events("manifest.loaded")) == 1
        server.stop()
        done = server.valija("reload")
        assert done.returncode == 69 and "no appliance runs by" in done.out, (done.returncode, done.out)


@test("serve does not start with a manifest that is not valid")
def _():
    with Server(start=False, aliases={"postmaster": "alise"}) as server:
        done = server.valija("serve", timeout=10)
        assert done.returncode == 78 and "[dangling-target]" in done.out and '"event":"manifest.refused"' in done.out, (done.returncode, done.out)
