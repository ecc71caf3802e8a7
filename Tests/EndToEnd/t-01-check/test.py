"""`valija check`: what is valid passes, what is not is shown at its place, all of it in one run."""

import json
import pathlib
import re
import resource

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


# --- Files, standard input, exit codes ---

VALID = ("apiVersion: valija/v1\nhostname: mx.example.org\ndomains: { example.org: }\n"
         "users: { alice: }\naliases: { postmaster: alice }\n")
WARNED = VALID.replace("{ postmaster: alice }", "{ sales: alice }")
BROKEN = VALID + "limts: {}\n"


def files(**texts):
    for name, text in texts.items():
        (SCRATCH / f"{name}.yaml").write_text(text)


@test("several files are judged in one run, each with a summary and one for all; exit 1 if one is not valid, 0 if all are")
def _():
    files(a=VALID, b=WARNED, c=BROKEN)
    done = run(BINARY, "check", "a.yaml", "b.yaml", "c.yaml", cwd=SCRATCH)
    assert done.returncode == 1, done.out
    lines = done.out.splitlines()
    assert lines[0] == "a.yaml: valid (1 domain, 1 user, 1 alias)", lines
    assert "b.yaml: valid, 1 warning (1 domain, 1 user, 1 alias)" in lines and "c.yaml: 1 error" in lines, lines
    assert lines[-1] == "3 files: 2 valid, 1 not valid; 1 error, 1 warning", lines
    assert run(BINARY, "check", "a.yaml", "b.yaml", cwd=SCRATCH).returncode == 0
    missing = run(BINARY, "check", "a.yaml", "nowhere.yaml", cwd=SCRATCH)
    assert missing.returncode == 1 and "nowhere.yaml: error: the file cannot be read" in missing.out, missing.out


@test("- is standard input, under the name that --stdin-name gives it; twice is a wrong command line")
def _():
    done = run(BINARY, "check", "-", input=BROKEN)
    assert done.returncode == 1 and "<stdin>:6:1: error" in done.out, done.out
    done = run(BINARY, "check", "--stdin-name", "mail.yaml", "-", input=BROKEN)
    assert done.returncode == 1 and "mail.yaml:6:1: error" in done.out, done.out
    assert run(BINARY, "check", "-", input=VALID).returncode == 0
    twice = run(BINARY, "check", "-", "-", input=VALID)
    assert twice.returncode == 64, (twice.returncode, twice.out)


@test("--strict takes warnings for errors: exit 1, and each format says so")
def _():
    files(b=WARNED)
    assert run(BINARY, "check", "b.yaml", cwd=SCRATCH).returncode == 0

    def strict(form):
        done = run(BINARY, "check", "--strict", "--format", form, "b.yaml", cwd=SCRATCH)
        assert done.returncode == 1, (form, done.out)
        return done.out

    text = strict("text")
    assert "error: nobody is named postmaster" in text and "[no-postmaster, --strict]" in text, text
    assert "b.yaml: 1 error (1 by --strict)" in text, text
    [finding] = json.loads(strict("json"))
    assert finding["severity"] == "error" and finding["strict"] is True and finding["code"] == "no-postmaster", finding
    assert strict("github").startswith("::error file=b.yaml,line=4,col=10,endColumn=15,title=no-postmaster::"), strict("github")
    [result] = json.loads(strict("sarif"))["runs"][0]["results"]
    assert result["level"] == "error" and "--strict" in result["message"]["text"], result


@test("JSON is one array over all files, empty for valid ones; annotations name each file")
def _():
    files(a=VALID, b=WARNED, c=BROKEN)
    done = run(BINARY, "check", "--format", "json", "a.yaml", "b.yaml", "c.yaml", cwd=SCRATCH)
    assert [(each["file"], each["severity"], each["line"]) for each in json.loads(done.out)] == [("b.yaml", "warning", 4), ("c.yaml", "error", 6)]
    assert json.loads(run(BINARY, "check", "--format", "json", "a.yaml", cwd=SCRATCH).out) == []
    done = run(BINARY, "check", "--format", "github", "a.yaml", "b.yaml", "c.yaml", cwd=SCRATCH)
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["::warning file=b.yaml", "::error file=c.yaml"], done.out


# --- SARIF and the JSON Schema, by their published schemas ---

def validator(schema):
    import jsonschema
    chosen = jsonschema.validators.validator_for(schema)
    chosen.check_schema(schema)
    return chosen(schema)


def complaints(validator, value):
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}"[:300] for error in validator.iter_errors(value)]


@test("the SARIF of every broken manifest of the unit tests, of valid ones and of an absent one is valid by OASIS's schema")
def _():
    sarif = validator(json.loads((pathlib.Path(__file__).parent / "sarif-schema-2.1.0.json").read_text()))
    broken = sorted((ROOT / "Tests/ManifestTests/broken").glob("*.yaml"))
    assert len(broken) >= 150, len(broken)
    done = run(BINARY, "check", "--format", "sarif", *broken, *EXAMPLES, "../nowhere at all.yaml", "-", input=WARNED)
    assert done.returncode == 1, done.returncode
    log = json.loads(done.out)
    assert complaints(sarif, log) == []
    [ran] = log["runs"]
    rules = [rule["id"] for rule in ran["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in ran["results"])
    assert len(ran["results"]) > len(broken) and len(ran["artifacts"]) == len(broken) + len(EXAMPLES) + 2
    # A validator that accepts anything would accept this too.
    assert complaints(sarif, {**log, "version": "2.0.0"}) != []
    empty = json.loads(run(BINARY, "check", "--format", "sarif", EXAMPLES[0]).out)
    assert complaints(sarif, empty) == [] and empty["runs"][0]["results"] == []


def manifest_schema():
    return validator(json.loads(run(BINARY, "schema").out))


def loaded(text):
    """As an editor reads YAML: `on` is true, and every key a text."""
    import yaml

    def plain(value):
        if isinstance(value, dict):
            return {name if isinstance(name, str) else str(name): plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)

    return plain(yaml.safe_load(text))


@test("the manifest's JSON Schema is a schema of draft 2020-12, and the examples, the README's manifest and init's are valid by it")
def _():
    schema = manifest_schema()
    assert type(schema).__name__ == "Draft202012Validator", type(schema)
    texts = {example.name: example.read_text() for example in EXAMPLES}
    texts["README"] = readme_manifest()
    texts["init"] = run(BINARY, "init").out
    texts["full"] = (ROOT / "Tests/ManifestTests/planned/full.yaml").read_text()
    for name, text in texts.items():
        assert complaints(schema, loaded(text)) == [], (name, complaints(schema, loaded(text)))


@test("whatever check accepts of the unit tests' manifests is valid by the JSON Schema, and wrong keys and values are not")
def _():
    schema = manifest_schema()
    for path in sorted((ROOT / "Tests/ManifestTests/valid").glob("*.yaml")):
        assert complaints(schema, loaded(path.read_text())) == [], (path.name, complaints(schema, loaded(path.read_text())))
    for wrong in ["limts: {}", "users: { alice: { quotta: 1GiB } }", "limits: { message_size: many }", "mailboxes: { format: mboxx }",
                  "networks: 127.0.0.1", "queue: { lifetime: 5 }", "aliases: { a: [] }"]:
        key = wrong.split(":")[0]
        text = "".join(line + "\n" for line in VALID.splitlines() if not line.startswith(key)) + wrong + "\n"
        assert complaints(schema, loaded(text)) != [], wrong


@test("every key of the schema has a description for editors, and sections take no other keys")
def _():
    schema = json.loads(run(BINARY, "schema").out)

    def walk(node, path):
        if isinstance(node, dict):
            for name, declared in node.get("properties", {}).items():
                assert declared.get("description"), f"{path}.{name} has no description"
            if node.get("properties"):
                assert node.get("additionalProperties") is False, path
            for name, inner in node.items():
                walk(inner, f"{path}.{name}")
        elif isinstance(node, list):
            for inner in node:
                walk(inner, path)

    walk(schema, "")


# --- init ---

@test("init prints a manifest that is valid even by --strict, or writes it to a file, and never over one without --force")
def _():
    printed = run(BINARY, "init")
    assert printed.returncode == 0 and printed.out.startswith("# yaml-language-server: $schema="), printed.out
    done = run(BINARY, "check", "--strict", "-", input=printed.out)
    assert done.returncode == 0, done.out
    path = SCRATCH / "new.yaml"
    written = run(BINARY, "init", path)
    assert written.returncode == 0 and path.read_text() == printed.out, written.out
    path.write_text("mine\n")
    refused = run(BINARY, "init", path)
    assert refused.returncode == 73 and "--force" in refused.out and path.read_text() == "mine\n", (refused.returncode, refused.out)
    assert run(BINARY, "init", "--force", path).returncode == 0 and path.read_text() == printed.out
    nowhere = run(BINARY, "init", SCRATCH / "no such folder" / "x.yaml")
    assert nowhere.returncode == 73, (nowhere.returncode, nowhere.out)


@test("the README shows the modeline that init writes")
def _():
    assert run(BINARY, "init").out.splitlines()[0] in (ROOT / "README.md").read_text()


# --- Much input ---

@test("a hundred thousand users and as many aliases are checked")
def _():
    def seconds(count):
        """Of the processor."""
        path = SCRATCH / "large.yaml"
        with open(path, "w") as out:
            out.write("apiVersion: valija/v1\nhostname: mx.example.org\ndomains: { example.org: }\nusers:\n")
            out.writelines(f"  user{number}: {{ quota: 1GiB }}\n" for number in range(count))
            out.write("aliases:\n  postmaster: user0\n")
            out.writelines(f"  alias{number}: [user{number}, alias{number + 1}@example.org]\n" for number in range(count - 1))
            out.write(f"  alias{count - 1}: user0\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(BINARY, "check", path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.out
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The work grows with the manifest and no faster, however fast the machine is; how long it takes, the benchmark says.
    few, many = seconds(10_000), seconds(100_000)
    assert many < 30 * max(few, 0.05), f"{few} s, {many} s"


@test("a hundred megabytes, endless input and a hundred megabytes of nesting are refused at once, in little memory")
def _():
    path = SCRATCH / "huge.yaml"
    for unit in (b"users: { alice: }\n", b"[", b"\xff"):
        path.write_bytes((unit * (100 * 2**20 // len(unit) + 1))[:100 * 2**20])
        done = limited(path)
        assert done.returncode == 1 and "too-large" in done.out, done.out
    assert "too-large" in limited("/dev/zero").out
    for unit in (b"[", b"? ", b"a: [b, c]\n", b"{a: "):
        path.write_bytes(unit * (60 * 2**20 // len(unit)))
        done = limited(path)
        assert done.returncode == 1 and "error" in done.out, (unit, done.returncode, done.out[-500:])
    path.unlink()


def limited(path):
    """check with two gigabytes of address space, and a minute."""
    return run("prlimit", f"--as={2 * 2**30}", str(BINARY), "check", str(path), timeout=120)
