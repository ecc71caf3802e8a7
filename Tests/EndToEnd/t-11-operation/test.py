"""What an operator and an orchestrator look at: health, metrics, log, signals."""

import json
import re
import signal
import subprocess
import time

from kit import *

ALWAYS = ("time", "level", "service", "event")


@test("/livez and /readyz answer 200 with JSON; other paths 404")
def _():
    with Server() as server:
        for path in ("/livez", "/readyz"):
            status, text = server.http(path)
            assert status == 200, (path, status, text)
            json.loads(text)
        assert server.http("/nothing")[0] == 404
        assert server.http("/../etc/passwd")[0] in (400, 404)


@test("/metrics is well-formed exposition text, and counts what happened")
def _():
    with Server() as server:
        def counted():
            status, text = server.http("/metrics")
            assert status == 200, status
            return parse_metrics(text)

        before = counted()
        server.send(message("counted"), ["alice@example.org", "bob@example.org"])
        server.wait_queue_empty()
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<sender@example.net>", "250")
            client.expect("RCPT TO:<nobody@example.org>", "550")
        after = counted()
        grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
        assert any("message_accepted" in key or "message.accepted" in key for key in grown), grown
        assert any(("delivery_sent" in key or "delivery.sent" in key) and value == 2 for key, value in grown.items()), grown
        assert any("message_rejected" in key or "message.rejected" in key for key in grown), grown


def parse_metrics(text):
    """Text exposition format 0.0.4: HELP and TYPE before the samples of their family, each sample once."""
    assert text.endswith("\n")
    types, helps, samples = {}, {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, rest = line[7:].partition(" ")
            assert name not in helps and rest, line
            helps[name] = rest
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
            types[name] = kind
        elif line and not line.startswith("#"):
            match = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)(?: \d+)?', line)
            assert match, line
            name, labels, value = match.groups()
            family = re.sub(r"_(bucket|sum|count|total)$", "", name)
            assert name in types or family in types, f"no TYPE before {line}"
            assert (name, labels) not in samples, f"twice: {line}"
            samples[(name, labels)] = float(value)
            if types.get(name) == "counter":
                assert name.endswith("_total"), f"a counter's name ends in _total: {name}"
    return {name + (labels or ""): value for (name, labels), value in samples.items()}


@test("valija health: 0 while it serves, 1 when it does not")
def _():
    with Server() as server:
        done = server.valija("health")
        assert done.returncode == 0, (done.returncode, done.out)
        assert run(BINARY, "health", "--manifest", server.manifest_path).returncode == 0
        server.stop()
        assert server.valija("health").returncode == 1


@test("valija health works without a health port, and VALIJA_MANIFEST names the manifest of serve too")
def _():
    with Server(listen={"health": []}) as server:
        done = server.valija("health")
        assert done.returncode == 0 and '"status":"ready"' in done.out, (done.returncode, done.out)
        done = server.valija("serve")
        assert done.returncode == 1 and "another process has this spool open" in done.out and "service.failed" in done.out, (done.returncode, done.out)


@test("the spool, the sockets and the mailboxes are their owner's alone, whatever the umask was")
def _():
    with Server(wrapper=["sh", "-c", 'umask 0; "$@"; exit $?', "sh"]) as server:
        server.send(message("private"), ["alice@example.org"])
        server.wait_mail("alice", 1)
        made = [path for root in (server.spool, server.mail) for path in root.rglob("*")]
        assert len(made) > 5, made
        for path in made:
            assert path.stat().st_mode & 0o077 == 0, f"{path} has mode {path.stat().st_mode:o}"


def failing_disk(server):
    """Every write and sync of the server's files fails as on a full disk, by strace's fault injection, until the
    process that is returned ends."""
    calls = "pwrite64,pwritev,fdatasync,fsync"
    return subprocess.Popen(["strace", "-f", "-p", str(server.pid), "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"fault={calls}:error=ENOSPC"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@test("a disk that refuses: readiness ends with the reason, mail gets 4xx and no 250, and all returns with the disk")
def _():
    with Server() as server:
        server.send(message("before"), ["alice@example.org"])
        server.wait_queue_empty()
        fault = failing_disk(server)
        try:
            def is_degraded():
                status, text = server.http("/readyz")
                return status == 503 and text

            text = wait_for(is_degraded, timeout=20, what="503 from /readyz")
            assert "spool" in json.loads(text)["checks"] and json.loads(text)["checks"]["spool"] != "ok", text
            assert server.http("/livez")[0] == 200
            assert server.valija("health").returncode == 1
            with Dialogue(server.port) as client:
                client.envelope().expect("DATA", "354")
                client.write(message("meanwhile") + b".\r\n")
                reply = client.reply()
                assert reply.startswith(("451 4.3.", "452 4.3.")), reply
                client.expect("NOOP", "250")
        finally:
            fault.terminate()
            fault.wait()
        wait_for(lambda: server.http("/readyz")[0] == 200, timeout=20, what="200 from /readyz")
        server.send(message("after"), ["alice@example.org"])
        letters = server.wait_mail("alice", 2)
        assert sorted(letter["Subject"] for letter in letters) == ["after", "before"]


@test("a spool that is moved away: readiness says so, mail gets 4xx, and all returns with it")
def _():
    with Server() as server:
        hidden = server.spool.with_name("spool-hidden")
        server.spool.rename(hidden)
        server.spool.mkdir()
        wait_for(lambda: server.http("/readyz")[0] == 503, timeout=20, what="503 from /readyz")
        with Dialogue(server.port) as client:
            client.expect("EHLO client.example.net", "250")
            client.expect("MAIL FROM:<sender@example.net>", "452 4.3.1")
        server.spool.rmdir()
        hidden.rename(server.spool)
        wait_for(lambda: server.http("/readyz")[0] == 200, timeout=20, what="200 from /readyz")
        server.send(message("after"), ["alice@example.org"])
        server.wait_mail("alice", 1)


@test("SIGTERM with sessions open and mail in flight: ends within ten seconds, loses nothing")
def _():
    def answers(command, _):
        if command == ".":
            time.sleep(30)  # a next hop that does not answer

    with Sink(answers) as sink:
        server = Server(relayhost=f"[127.0.0.1]:{sink.port}")
        idle = [Dialogue(server.port) for _ in range(20)]
        half = Dialogue(server.port).envelope()
        half.expect("DATA", "354")
        half.write(message("half")[:-10])
        queue_id = server.send(message("in flight"), ["someone@elsewhere.example"])
        wait_for(lambda: "DATA" in sink.commands, what="DATA at the sink")
        code, seconds = server.stop()
        assert code == 0, (code, server.errors())
        assert seconds < 10, f"{seconds:.1f} s"
        for client in idle:
            said = client.rest(1)
            assert said == "" or said.startswith("421 4.3.2"), said
        names = [line["event"] for line in server.log()]
        assert "service.stopping" in names and names[-1] == "service.stopped", names[-5:]
    server.start()
    assert [entry["queue_id"] for entry in server.queue()] == [queue_id]
    server.valija("queue", "delete", queue_id)
    server.stop()


@test("a SIGTERM during the start and a SIGINT later both end it")
def _():
    server = Server(start=False).spawn()
    time.sleep(0.02)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(12)
    server.start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(12) == 0, server.errors()


@test("each log line is one JSON object with time, level, service, event; times rise; nothing else is written")
def _():
    with Server() as server:
        server.send(message("logged \N{SNOWMAN}\r\n X: \"quotes\" and \\ backslashes"), ["alice@example.org"], sender='"a\\"b"@example.net')
        with Dialogue(server.port) as client:
            client.ask("EHLO client.example.net")
            client.ask("MAIL FROM:<sender@example.net>")
            client.ask("RCPT TO:<nobody@example.org>")
            client.write(b"\xff\xfe\x00\x01 \x1b[31m\r\n")
            client.reply()
        server.wait_queue_empty()
    raw = server.log_path.read_bytes()
    lines = [json.loads(line) for line in raw.decode("utf-8").splitlines()]
    for line in lines:
        assert all(isinstance(line.get(name), str) for name in ALWAYS), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", line["time"]), line
        assert line["level"] in ("debug", "info", "warning", "error"), line
    assert {"service.ready", "session.closed", "message.accepted", "message.rejected", "delivery.sent", "service.stopped"} <= {line["event"] for line in lines}
    assert not any(byte < 32 and byte != 10 for byte in raw), "control characters"
    assert server.errors() == "", server.errors()


@test("a manifest that is not valid: serve shows why and starts nothing")
def _():
    server = Server(start=False, manifest="apiVersion: valija/v1\nhostname: mx.example.org\nnetwoks: []\n")
    done = server.valija("serve", server.manifest_path)
    assert done.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGILL), done.returncode
    assert re.search(r"mail\.yaml:3:1", done.out), done.out
    assert not list(server.spool.iterdir()), "the spool was touched"


@test("a port that is taken: serve says which, and ends")
def _():
    with Server() as server:
        other = Server(start=False, listen={"smtp": [f"127.0.0.1:{server.port}"], "health": [f"127.0.0.1:{free_port()}"]})
        done = other.valija("serve", other.manifest_path, timeout=20)
        assert done.returncode not in (0, -signal.SIGILL, -signal.SIGSEGV), done.returncode
        assert f"127.0.0.1:{server.port}" in done.out and "listener.failed" in done.out, done.out
        server.send(message("unharmed"), ["alice@example.org"])


@test("two servers do not share one spool")
def _():
    with Server() as server:
        other = Server(start=False, queue={"directory": str(server.spool)})
        process = subprocess.Popen([BINARY, "serve", str(other.manifest_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, _ = process.communicate(timeout=15)
            assert process.returncode != 0 and out, process.returncode
        finally:
            process.kill()
        server.send(message("unharmed"), ["alice@example.org"])
        server.wait_mail("alice", 1)
