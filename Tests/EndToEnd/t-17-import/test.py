"""`valija import`: configurations of Postfix's own documentation and of Debian's package become manifests; rendered again,
they are ones that Postfix has nothing to say about."""

import concurrent.futures
import html
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

from kit import *

DOCUMENTED = sorted((pathlib.Path(__file__).parent / "documented").iterdir())
PACKAGED = pathlib.Path("/usr/share/postfix")


def valija_import(directory, *options, status=(0, 2)):
    """Returns the manifest and the report."""
    done = subprocess.run([BINARY, "import", directory, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode in status, f"{directory}: exit {done.returncode}\n{done.stderr}"
    return done.stdout, done.stderr


def options_of(directory):
    return ["--users", directory / "users"] if (directory / "users").exists() else []


def packaged():
    """Debian's samples: each main.cf of the package with its master.cf, as the package's scripts install them."""
    for sample in ("main.cf.debian", "main.cf.dist", "main.cf.tls"):
        directory = SCRATCH / f"packaged-{sample}"
        directory.mkdir(exist_ok=True)
        text = (PACKAGED / sample).read_text()
        # What makedefs and postinst fill in.
        text = re.sub(r"\$\{?(smtp|smtpd|daemon|command|queue|data|html|manpage|readme|sample|sendmail|newaliases|mailq|setgid|mail|meta|shlib)_\w+\}?(?=$)", "x", text)
        if "myhostname =" not in text:
            text += "\nmyhostname = packaged.example.org\n"
        (directory / "main.cf").write_text(text)
        shutil.copy(PACKAGED / "master.cf.dist", directory / "master.cf")
        yield directory


def check_rendered(manifest_file):
    """Renders and lets Postfix look; returns the directory."""
    out = SCRATCH / f"rendered-{manifest_file.stem}"
    done = run(BINARY, "render", manifest_file, "-o", out)
    assert done.returncode == 0, done.out
    done = run("postfix", "-c", out, "check")
    complaints = [line for line in done.out.splitlines() if str(out) in line or "fatal" in line or "unused parameter" in line]
    assert done.returncode == 0 and not complaints, f"{manifest_file.name}: {done.out}"
    done = run("postconf", "-c", out, "-n")
    assert done.returncode == 0 and "warning" not in done.out, done.out
    return out


def imports_and_renders(directory):
    manifest, report = valija_import(directory, *options_of(directory))
    file = SCRATCH / f"{directory.name}.yaml"
    file.write_text(manifest)
    done = run(BINARY, "check", file)
    assert done.returncode == 0, f"{directory.name}: {done.out}\n{manifest}"
    check_rendered(file)
    # Each parameter that main.cf sets has its entry, by file and line.
    settings = re.findall(r"^([a-z0-9_]+)\s*=", (directory / "main.cf").read_text(), re.M)
    assert settings, directory
    for name in settings:
        assert re.search(rf"^{re.escape(str(directory))}/main\.cf:\d+: {name}\b", report, re.M), f"{directory.name}: {name} is not in the report\n{report}"
    return manifest, report


@test("configurations after Postfix's documentation become manifests that Postfix runs by", limit=300)
def _():
    assert len(DOCUMENTED) >= 10, DOCUMENTED
    for directory in DOCUMENTED:
        imports_and_renders(directory)


DOCUMENTATION = pathlib.Path("/usr/share/doc/postfix/html")
PAGES = ("STANDARD_CONFIGURATION", "VIRTUAL", "SOHO", "BASIC_CONFIGURATION", "BACKSCATTER", "LOCAL_RECIPIENT", "ADDRESS_REWRITING")


def examples(page):
    """The configurations that a page of the documentation shows: each block with a main.cf, as texts by file name."""
    for block in re.findall(r"<pre>(.*?)</pre>", (DOCUMENTATION / f"{page}_README.html").read_text(errors="replace"), re.S | re.I):
        files, name = {}, None
        for line in html.unescape(re.sub(r"<[^>]*>", "", block)).splitlines():
            line = re.sub(r"^ ?\d{1,2} ", "", line, count=1)  # some blocks number their lines
            if head := re.match(r"\s*/etc/(?:postfix/)?([\w.-]+):\s*$", line):
                name = head[1]
                files.setdefault(name, "")
            elif name:
                files[name] += re.sub(r"^(?: {4}|\t)", "", line) + "\n"
        # What they say of master.cf is prose with pieces of it.
        files.pop("master.cf", None)
        if re.search(r"^\w+ *=", files.get("main.cf", ""), re.M):
            yield files


@test("each configuration that Postfix's own documentation shows becomes a manifest that Postfix runs by", limit=400)
def _():
    directories = []
    for page in PAGES:
        for number, files in enumerate(examples(page), 1):
            directories.append(SCRATCH / f"{page}-{number}")
            directories[-1].mkdir()
            for name, text in files.items():
                (directories[-1] / name).write_text(text)
            shutil.copy(PACKAGED / "master.cf.dist", directories[-1] / "master.cf")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(imports_and_renders, directories))
    print(f"     {len(directories)} examples of {len(PAGES)} pages")
    assert len(directories) >= 50


@test("so do the samples of Debian's package", limit=120)
def _():
    for directory in packaged():
        imports_and_renders(directory)


@test("users come with their hashes, from accounts or from Dovecot's list, and the report says who has none")
def _():
    directory = DOCUMENTED[0].parent / "shared-domain"
    manifest, report = valija_import(directory)
    assert 'password: "$y$j9T$' in manifest, manifest
    assert re.search(r"^  (root|daemon|backup|nobody):", manifest.split("users:")[1].split("aliases:")[0], re.M) is None, manifest
    assert re.search(r"bob: note: no login: its password is locked", report), report
    directory = DOCUMENTED[0].parent / "tls"
    manifest, report = valija_import(directory, "--users", directory / "users")
    assert "quota: 2GiB" in manifest and 'password: "$6$salt$' in manifest, manifest
    assert re.search(r"bob: note: no login: its password is kept as {SSHA256}", report), report
    assert 'submission: ["0.0.0.0:587", "[::]:587"]' in manifest and 'submissions: ["0.0.0.0:465", "[::]:465"]' in manifest, manifest


@test("the manifest goes to a file that only its owner reads, and no file is replaced without --force")
def _():
    directory = DOCUMENTED[0].parent / "shared-domain"
    out, report = SCRATCH / "out.yaml", SCRATCH / "report.json"
    valija_import(directory, "-o", out, "--report", report, "--json")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600, oct(out.stat().st_mode)
    found = json.loads(report.read_text())
    assert found["whole"] is False and found["counts"]["not-supported"] == 0 or found["counts"]["changed"] + found["counts"]["not-supported"] > 0, found["counts"]
    for entry in found["entries"]:
        assert set(entry) == {"file", "line", "subject", "outcome", "text"}, entry
    before = out.read_text()
    done = run(BINARY, "import", directory, "-o", out)
    assert done.returncode == 1 and "--force" in done.out and out.read_text() == before, done.out
    done = run(BINARY, "import", directory, "-o", out, "--force", "--report", report)
    assert done.returncode == 2 and stat.S_IMODE(out.stat().st_mode) == 0o600, done.out


@test("a configuration that a manifest can say as a whole ends with exit 0, others with 2, none at all with 1, a wrong line with 64")
def _():
    example = ROOT / "examples" / "company.yaml"
    rendered = SCRATCH / "company"
    assert run(BINARY, "render", example, "-o", rendered).returncode == 0
    done = run(BINARY, "import", rendered)
    assert done.returncode == 0, done.out
    assert run(BINARY, "import", DOCUMENTED[0].parent / "soho").returncode == 2
    done = run(BINARY, "import", SCRATCH / "nowhere")
    assert done.returncode == 1 and "main.cf: there is no such file" in done.out, done.out
    assert run(BINARY, "import").returncode == 64


@test("a table of 100,000 addresses takes seconds, not minutes", limit=120)
def _():
    directory = SCRATCH / "large"
    directory.mkdir()
    (directory / "main.cf").write_text(
        "myhostname = mx.example.org\nmydestination = localhost\nvirtual_alias_domains = big.example\n"
        "virtual_alias_maps = hash:/etc/postfix/virtual\nalias_maps = hash:/etc/aliases\n")
    (directory / "virtual").write_text("".join(f"user{n}@big.example\tuser{n}@elsewhere.example\n" for n in range(100_000)))
    (directory / "aliases").write_text("".join(f"alias{n}: alias{n + 1}\n" for n in range(100_000)) + "alias100000: root@elsewhere.example\n")
    manifest = SCRATCH / "large.yaml"
    import time
    started = time.monotonic()
    valija_import(directory, "-o", manifest, "--report", SCRATCH / "large.txt")
    print(f"     {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < 30
    assert manifest.read_text().count("@elsewhere.example") == 100_001


@test("devices, pipes, unreadable and endless things end with a word in the report, at once")
def _():
    directory = SCRATCH / "hostile"
    directory.mkdir()
    os.mkfifo(directory / "pipe")
    loop = "".join(f"x{n} = $x{n + 1}$x{n + 1}\n" for n in range(60))
    (directory / "main.cf").write_bytes(
        b"myhostname = mx.example.org\nmyorigin = $a\na = $b\nb = $a\nvirtual_alias_maps = hash:/etc/postfix/pipe hash:/dev/zero hash:/etc/postfix\n"
        + loop.encode() + b"x60 = y\nrelayhost = $x0\nmynetworks = 127.0.0.0/8 \0 10.0.0.0/8\n" + b"smtpd_banner = " + b"x\n " * 1_000_000 + b"\nno equals sign\n")
    done = run(BINARY, "import", directory, "--root", "/")
    assert done.returncode == 2, done.out[-2000:]
    for word in ("it is no ordinary file", "unreasonable macro call nesting", "NUL", "longer than"):
        assert word in done.out, f"{word}: {done.out[:3000]}"
