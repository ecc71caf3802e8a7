"""`valija check`: what is valid passes, what is not is shown at its place, all of it in one run."""

import json
import re

from kit import *

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def check(text, *options):
    path = SCRATCH / "mail.yaml"
    path.write_text(text)
    return run(BINARY, "check", *options, path, cwd=SCRATCH)


def readme_manifest():
    return re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)


@test("every manifest of examples/ is valid")
def _():
    assert len(EXAMPLES) >= 3, EXAMPLES
    for example in EXAMPLES:
        done = run(BINARY, "check", example)
        assert done.returncode == 0, f"{example.name}: {done.returncode}\n{done.out}"


@test("the manifest of the README is valid and has ten lines")
def _():
    text = readme_manifest()
    assert len(text.splitlines()) == 10, text
    done = check(text)
    assert done.returncode == 0, done.out


@test("an unknown key is shown as FILE:LINE:COLUMN with its line and a caret below the key; exit 1")
def _():
    done = check("apiVersion: valija/v1\nhostname: mx.example.org\ndomains:\n  example.org: {}\nusers:\n  alice: {}\nalises:\n  postmaster: alice\n")
    assert done.returncode == 1, done.returncode
    assert re.search(r"mail\.yaml:7:1: ", done.out), done.out
    lines = done.out.splitlines()
    [shown] = [number for number, line in enumerate(lines) if line.rstrip().endswith("alises:") and "mail.yaml" not in line]
    caret = lines[shown + 1]
    assert "^" in caret and caret.index("^") == lines[shown].index("alises:"), "\n".join(lines)
    assert "aliases" in done.out.replace("alises", ""), f"no hint in: {done.out}"


@test("several errors are all reported in one run, in the order of the file")
def _():
    done = check("apiVersion: valija/v1\n"
                 "hostname: mx.example.org\n"
                 "domains:\n"
                 "  example.org: {}\n"
                 "  example.org: {}\n"                     # 5: twice
                 "users:\n"
                 "  alice: { quotta: 1GiB }\n"             # 7: unknown
                 "aliases:\n"
                 "  postmaster: alice\n"
                 "  a: b\n"                                # 10, 11: a loop
                 "  b: a\n"
                 "  c: nobody-here\n"                      # 12: leads nowhere
                 "limits: { message_size: many }\n")       # 13: not a size
    assert done.returncode == 1, done.returncode
    lines = [int(number) for number in re.findall(r"mail\.yaml:(\d+):\d+: error", done.out)]
    assert {5, 7, 12, 13} <= set(lines) and set(lines) & {10, 11}, done.out
    assert lines == sorted(lines), lines


@test("what is no YAML is shown at its place")
def _():
    done = check("apiVersion: valija/v1\nusers: [alice\nhostname: mx\n")
    assert done.returncode == 1 and re.search(r"mail\.yaml:\d+:\d+: error", done.out), done.out


@test("a file that is not there and a call without a file end with other exit codes than 0 and 1 says so")
def _():
    missing = run(BINARY, "check", SCRATCH / "nowhere.yaml")
    assert missing.returncode not in (0, 139) and "nowhere.yaml" in missing.out, (missing.returncode, missing.out)
    usage = run(BINARY, "check")
    assert usage.returncode == 64 and "usage" in usage.out.lower(), (usage.returncode, usage.out)
    unknown = run(BINARY, "frobnicate")
    assert unknown.returncode == 64, (unknown.returncode, unknown.out)


@test("the schema is JSON Schema and knows the keys of the examples")
def _():
    done = run(BINARY, "schema")
    assert done.returncode == 0, done.out
    schema = json.loads(done.out)
    assert "$schema" in schema and schema["type"] == "object", list(schema)
    keys = {re.match(r"(\w+):", line).group(1) for example in EXAMPLES for line in example.read_text().splitlines()
            if re.match(r"\w+:", line)}
    assert keys <= set(schema["properties"]), keys - set(schema["properties"])
