"""Messages of 4 KiB into a Maildir, from 1, 16 and 100 sessions with a connection for each message, and from 16 that keep theirs.

"Accepted" is messages by the time that smtp-source took; "in the mailbox" is messages by the time until the last one lies in
the Maildir. Both servers take turns; each figure is the median of the rounds.
"""

from kit import measure, table

# sessions, messages per round and server, extra options of smtp-source
LOADS = [(1, 1500, ()), (16, 6000, ()), (100, 6000, ()), (16, 6000, ("-d",))]


def run(bench):
    servers = bench.pair()
    rows = []
    for sessions, messages, options in LOADS:
        accepted, delivered = {}, {}
        for _ in range(bench.rounds):
            for server in servers:
                figures = measure(server, sessions, max(sessions, int(messages * bench.scale)), options)
                accepted.setdefault(server.name, []).append(figures[0])
                delivered.setdefault(server.name, []).append(figures[1])
        label = f"{sessions:>3} sessions{' kept' if options else ''}"
        rows += [(f"{label}, accepted", accepted), (f"{label}, in the mailbox", delivered)]
    table("messages/s, 4 KiB, durable", servers, rows)
