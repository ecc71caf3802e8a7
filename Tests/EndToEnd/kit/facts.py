"""What became of a message, as an ordered mapping from what two servers are compared by to its value: of a stored message, of
one that a next hop took, of a delivery report."""

import collections
import email
import email.policy
import re

from .letters import TRACE


def split_mbox(data):
    """The messages of an mbox, each with its `From ` line and without the empty line that ends it."""
    starts = [match.start() for match in re.finditer(rb"(?:\A|(?<=\n\n))From ", data)]
    return [data[start:end - 1] for start, end in zip(starts, starts[1:] + [len(data)])]


def facts_of_letter(place, data):
    """A stored message as an ordered mapping from what is compared to its value."""
    facts = collections.OrderedDict(place=place)
    if data.startswith(b"From "):
        line, _, data = data.partition(b"\n")
        facts["From line"] = line.split(b"  ")[0].decode(errors="replace")
    facts.update(facts_of_content(data))
    return facts


def facts_of_content(data):
    facts = collections.OrderedDict()
    names, received = [], []
    while True:
        found = re.match(rb"([A-Za-z-]+):[ \t]?(.*(?:\n[ \t].*)*)\n", data)
        if not found or found.group(1).decode().lower() not in TRACE:
            break
        name, value = found.group(1).decode(), found.group(2).decode(errors="replace")
        data = data[found.end():]
        if name.lower() == "received":
            received.append(value)
        else:
            facts[name] = f"{facts[name]} / {value}" if name in facts else value
        if names[-1:] != ["Received"] or name != "Received":
            names.append(name)
    facts["trace fields"] = " ".join(names)
    ours = [value for value in received if "(Valija)" in value or "(Postfix" in value]
    if ours:
        first = re.sub(r"\((?:[^()]|\([^()]*\))*\)", "", " ".join(ours[-1].split()))  # without what TLS says of itself
        for name, pattern in (("from", r"^from (\S+)"), ("with", r" with (\S+)"), ("for", r" for (<\S*>);")):
            found = re.search(pattern, first)
            facts[f"Received {name}"] = found.group(1) if found else "none"
    report = report_of(data)
    if report:
        facts.update(report)
    else:
        facts["content"] = data.decode("latin-1")
    return facts


def report_of(data):
    """What a delivery report says, or None."""
    if b"multipart/report" not in data.partition(b"\n\n")[0]:
        return None
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    parts = message.get_payload()
    facts = collections.OrderedDict()
    for name in ("From", "To", "Subject", "Auto-Submitted"):
        facts[f"report {name}"] = " ".join(str(message[name]).split())
    blocks = parts[1].get_payload()
    if isinstance(blocks, str):  # message/global-delivery-status: Python does not look into it
        blocks = [email.message_from_string(block) for block in re.split(r"\n\n+", blocks.strip())]
    facts["report type"] = parts[1].get_content_type()
    for name in ("Original-Envelope-Id", "Reporting-MTA"):
        facts[f"report {name}"] = str(blocks[0][name])
    lines = []
    for block in blocks[1:]:
        if block.keys():
            lines.append(" ".join(f"{name}={re.sub('; *', ';', str(block[name]))}" for name in
                                  ("Final-Recipient", "Original-Recipient", "Action", "Status", "Remote-MTA") if block[name]))
    facts["report recipients"] = "; ".join(sorted(lines))
    facts["report returns"] = parts[2].get_content_type()
    returned = parts[2].as_bytes().partition(b"\n\n")[2]
    returned = re.sub(rb"\A(?:(?:Return-Path|Received|X-Original-To|Delivered-To):.*\n(?:[ \t].*\n)*)+", b"", returned)
    facts["report content"] = returned.rstrip(b"\n").decode("latin-1")
    return facts


def facts_of_transaction(place, transaction, data):
    mail, recipients = transaction
    facts = collections.OrderedDict(place=place)
    facts["MAIL"] = " ".join(sorted(re.sub(r" SIZE=\d+", "", mail).split(" ")[1:]))
    facts["RCPT"] = " ".join(sorted(" ".join(sorted(recipient.split(" ")[1:])) for recipient in recipients))
    facts.update(facts_of_content(data.replace(b"\r\n", b"\n")))
    return facts
