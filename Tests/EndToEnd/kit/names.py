"""A network of the case's own, and a real name server in it: Debian's Knot DNS, which signs its zones."""

import ctypes
import os
import pathlib
import subprocess
import tempfile

from .addresses import free_port, wait_for
from .daemon import Daemon
from .server import SCRATCH, run

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def own_network(*addresses):
    """From now on this process and its children have a network of their own, with nothing in it but loopback and these
    addresses: every port is free, and no question leaves. Without root it takes a user namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNET | (0 if user == 0 else CLONE_NEWUSER)):
        raise OSError(ctypes.get_errno(), "unshare: a network of its own needs root or user namespaces")
    if user != 0:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    run("ip", "link", "set", "lo", "up")
    for address in addresses:
        done = run("ip", "address", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo", *(["nodad"] if ":" in address else []))
        assert done.returncode == 0, done.out


class NameServer(Daemon):
    """`with NameServer({"example.": "@ A 192.0.2.1\\n…"}, signed=["example."]) as names`: zones by name, each the lines of a zone
    file without SOA and NS, which are added; None is a zone that cannot be read, for which Knot answers SERVFAIL.

    A signed child has a DS record in its parent, if that is signed too; in `wrong` those that have another key's.
    """

    def __init__(self, zones, signed=(), wrong=(), addresses=("127.0.0.1",), port=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="knot-", dir=SCRATCH))
        self.port = port or free_port()
        self.addresses = addresses
        self.resolver = f"{addresses[0]}:{self.port}"
        self.signed = list(signed)
        self.configuration = self.directory / "knot.conf"
        self.zones = dict(zones)
        (self.directory / "db").mkdir()
        # Children first: their keys stand in their parents.
        for zone in sorted(zones, key=lambda name: -name.rstrip(".").count(".") if name != "." else 1):
            self._write(zone)
        for zone in wrong:
            self._delegate(zone, "12345 13 2 " + "AB" * 32)
        for zone in self.signed:
            if zone not in wrong:
                self._delegate(zone, None)

    def _write(self, zone):
        if self.zones[zone] is not None:
            head = f"$ORIGIN {zone}\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n"
            if " NS " not in self.zones[zone]:
                head += "@ NS ns\nns A 127.0.0.1\n"
            self._file(zone).write_text(head + self.zones[zone] + "\n")
        options = "    dnssec-signing: on\n    dnssec-policy: tests\n" if zone in self.signed else ""
        with open(self.configuration, "a") as file:
            if file.tell() == 0:
                listen = ", ".join(f"{address}@{self.port}" for address in self.addresses)
                file.write(f"""server:
    listen: [{listen}]
    rundir: {self.directory}
    pidfile: {self.directory}/pid
    identity: ""
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: {self.directory}/log
    any: info
database:
    storage: {self.directory}/db
policy:
  - id: tests
    algorithm: ecdsap256sha256
    single-type-signing: on
    ksk-lifetime: 0
    dnskey-ttl: 5
    zone-max-ttl: 3600
    propagation-delay: 0
    nsec3: off
template:
  - id: default
    storage: {self.directory}
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
""")
            file.write(f"  - domain: {zone}\n    file: {self._file(zone).name}\n{options}")

    def _file(self, zone):
        return self.directory / f"zone{zone if zone != '.' else '.root'}"

    def _keymgr(self, zone, *command):
        done = subprocess.run(["keymgr", "-c", self.configuration, zone, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def key(self, zone):
        """The zone's key as a DS record, made when it is first asked for."""
        if not self._keymgr(zone, "list"):
            self._keymgr(zone, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
        return [line for line in self._keymgr(zone, "ds").splitlines() if " 13 2 " in line][0]

    def _delegate(self, zone, wrong):
        parents = [other for other in self.signed if other != zone and (other == "." or zone.endswith("." + other))]
        if not parents or self.zones.get(zone) is None:
            return
        parent = max(parents, key=len)
        with open(self._file(parent), "a") as file:
            file.write(f"{zone} DS {wrong or self.key(zone).split(' DS ')[1]}\n")

    def anchor(self, *zones):
        """A file with the keys of these zones, for `dns.trust_anchor`."""
        path = self.directory / "anchor.key"
        path.write_text("".join(self.key(zone).replace(" DS ", " IN DS ") + "\n" for zone in zones or self.signed[:1]))
        return str(path)

    def keys(self, *zones):
        """The manifest's `dns` for this server."""
        return {"resolvers": [self.resolver], "dnssec": "always", "trust_anchor": self.anchor(*zones)}

    def start(self):
        self.launch("knotd", "-c", self.configuration, errors=self.directory / "errors")
        zone = next(zone for zone, text in self.zones.items() if text is not None)

        def answers():
            self.is_running()
            question = [f"@{self.addresses[0]}", "-p", str(self.port), "+timeout=1", "+retry=0", "+dnssec"]
            return all("status: NOERROR" in (out := run("kdig", *question, zone, "SOA").out) and ("RRSIG" in out or zone not in self.signed)
                       for zone in [zone, *self.signed])

        wait_for(answers, 15, "the name server's answers", every=0.05)
        return self

    def log(self):
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def update(self, zone, text):
        """Another content for a zone, in force when this returns."""
        serial = getattr(self, "serial", 1) + 1
        self.serial = serial
        self._file(zone).write_text(f"$ORIGIN {zone}\n$TTL 5\n@ SOA ns hostmaster {serial} 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n{text}\n")
        done = run("knotc", "-c", self.configuration, "-b", "zone-reload", zone)
        assert done.returncode == 0, done.out + self.log()
