"""The twin test: what `valija serve` does with a manifest, Debian's Postfix does on what `valija render` made of it.

Every difference is either in the table "Intended differences" of docs/postfix.md, and then must be found, or an error.
`manifests/` and `dialogues/` are data; kit/twin.py says how a dialogue is written. Needs root, as Postfix does. While working
on one manifest: `TWIN=05-plus Tests/EndToEnd/run t-16`.
"""

import collections
import concurrent.futures
import os
import pathlib
import re

from kit import *
from kit.twin import Twin

HERE = pathlib.Path(__file__).parent
AT_A_TIME = 4  # manifests; each has two servers, and both processors are to be busy
ONLY_TWIN = os.environ.get("TWIN", "")  # part of a manifest's name: for work on one

twins = [Twin(manifest, HERE / "dialogues" / f"{manifest.stem}.txt", int(manifest.stem[:2]))
         for manifest in sorted((HERE / "manifests").glob("*.yaml")) if ONLY_TWIN in manifest.stem]


def intended():
    """{id: row} of the table in docs/postfix.md."""
    section = (ROOT / "docs/postfix.md").read_text().partition("## Intended differences")[2].partition("\n## ")[0]
    return {row[0].strip("`"): row for row in (re.split(r"\s*\|\s*", line.strip("| ")) for line in section.splitlines()
                                               if line.startswith("| `"))}


def run_all():
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        return [(twin, pool.submit(twin.run)) for twin in twins]


results = []
# Differences that may turn up in any dialogue: with these accounts, worded so, they are this one.
EVERYWHERE = [
    ("etrn", "virtual unix", r"extensions: valija 8BITMIME (AUTH )?BINARYMIME CHUNKING (DSN ENHANCEDSTATUSCODES )LIMITS "
                             r"PIPELINING (?:REQUIRETLS )?(SIZE SMTPUTF8 (?:STARTTLS )?VRFY(?: XCLIENT)?(?: XVERP)?), postfix 8BITMIME (AUTH )?CHUNKING \2ETRN PIPELINING \3"),
    ("binarymime-limits", "virtual unix", r"extensions: valija 8BITMIME (AUTH )?BINARYMIME CHUNKING (DSN ENHANCEDSTATUSCODES ETRN )LIMITS "
                                          r"PIPELINING (?:REQUIRETLS )?(SIZE SMTPUTF8 (?:STARTTLS )?VRFY(?: XCLIENT)?(?: XVERP)?), postfix 8BITMIME (AUTH )?CHUNKING \2PIPELINING \3"),
    ("verp-certificate", "virtual unix", r"extensions: valija 8BITMIME BINARYMIME CHUNKING DSN ENHANCEDSTATUSCODES LIMITS PIPELINING (?:REQUIRETLS )?(SIZE SMTPUTF8 VRFY(?: XCLIENT)?) XVERP, "
                                         r"postfix 8BITMIME CHUNKING DSN ENHANCEDSTATUSCODES ETRN PIPELINING \1"),
    ("scram-plus", "virtual unix", r"mechanisms: valija LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS, postfix LOGIN PLAIN SCRAM-SHA-256"),
    ("own-certificate", "virtual unix", r"extensions: valija 8BITMIME AUTH BINARYMIME CHUNKING DSN ENHANCEDSTATUSCODES LIMITS PIPELINING SIZE SMTPUTF8 STARTTLS VRFY((?: XVERP)?), "
                                        r"postfix 8BITMIME AUTH CHUNKING DSN ENHANCEDSTATUSCODES ETRN PIPELINING SIZE SMTPUTF8 VRFY\1"),
    ("list-message", "virtual", r"mailbox \S+: (?:From line: valija From owner-\S+, postfix From .*|Return-Path: valija <owner-\S+>, postfix <.*>)"),
    ("list-message", "virtual unix", r"mailbox (\S+): Delivered-To: valija \1@example.org / \S+@example.org, postfix \1@example.org(?: / \S+)?"),
    ("list-message", "virtual", r"mailbox \S+: trace fields: valija Return-Path X-Original-To Delivered-To Received Delivered-To Received, "
                                r"postfix Return-Path Delivered-To Received"),
    ("x-original-to", "virtual", r"mailbox \S+: X-Original-To: valija \S.*, postfix none"),
    ("x-original-to", "virtual", r"mailbox \S+: trace fields: valija Return-Path X-Original-To Delivered-To Received, "
                                 r"postfix Return-Path Delivered-To Received"),
    ("delivered-to", "virtual unix", r"mailbox (\S+): Delivered-To: valija \1@(?:mx.)?(?:example.org|origin.example), postfix [^ ]+"),
    ("bare-addresses", "virtual unix", r".*: (?:X-Original-To|Received for): valija <?([^@ ]+)@[^@ ]+>?, postfix <?\1>?"),
    ("forwarded-anew", "unix", r"(?:next hop|mailbox) \S+: trace fields: valija ([A-Z].*), postfix \1 Delivered-To Received"),
    ("forwarded-anew", "unix", r"next hop \S+: Delivered-To: valija none, postfix .*"),
    ("forwarded-anew", "unix", r"mailbox (\S+): Delivered-To: valija \1@(?:mx.)?(?:example.org|origin.example), postfix [^ ]+ / [^ ]+"),
    ("bare-addresses", "virtual unix", r"next hop \S+: RCPT: valija ORCPT=rfc822;([^@ ]+)@(\S+) TO:<\1@\2>, postfix ORCPT=rfc822;\1 TO:<\1@\2>"),
    ("one-copy", "unix", r"(?:mailbox|next hop) \S+: messages: valija 1, postfix [2-9]"),
    ("report-form", "virtual unix", r"next hop \S+: MAIL: valija FROM:<>, postfix BODY=8BITMIME FROM:<>"),
]
found = collections.Counter()  # id of an intended difference → how often


@test("every manifest is served by both, and all dialogues come to their end", limit=400)
def _():
    results.extend(run_all())
    for twin, result in results:
        result.result()
        assert not twin.strays, f"{twin.name}: letters that belong to no dialogue: {twin.strays}"


def report(twin):
    """Lines for what is not as it should be."""
    lines = []
    for script, accounts, differences in twin.findings:
        for ident, where, pattern in EVERYWHERE:
            everywhere = [text for text in differences if accounts in where.split() and re.fullmatch(pattern, text)]
            found[ident] += len(everywhere)
            differences = [text for text in differences if text not in everywhere]
        wanted = [(ident, text) for only, ident, text in script.expected if only in ("", accounts)]
        expected = collections.Counter(text for _, text in wanted)
        found.update(ident for ident, text in wanted if text in differences)
        unexpected = collections.Counter(differences) - expected
        missing = expected - collections.Counter(differences)
        if unexpected or missing:
            lines.append(f"{script.sentence} ({twin.dialogues.name}:{script.line}, {script.mark}, {accounts})")
            lines += [f"    + {text}" for text in unexpected.elements()]
            lines += [f"    - not found: {text}" for text in missing.elements()]
    return lines


for twin in twins:
    @test(f"{twin.name}: {len(twin.scripts)} dialogues, the same to both but for what is intended")
    def _(twin=twin):
        lines = report(twin)
        assert not lines, "\n" + "\n".join(lines)


@test("the table of intended differences is complete, and each is real")
def _():
    table = intended()
    unnamed = sorted(ident for ident in found if ident not in table)
    assert not unnamed, f"not in docs/postfix.md: {unnamed}"
    if not ONLY_TWIN:
        unreal = sorted(ident for ident in table if not found[ident])
        assert not unreal, f"in docs/postfix.md, but not found: {unreal}"
    print(f"     {len(twins)} manifests, {sum(len(twin.scripts) for twin in twins)} dialogues, "
          f"{sum(twin.comparison_count for twin in twins)} comparisons, {len(found)} intended differences found "
          f"({sum(found.values())} times)", flush=True)
