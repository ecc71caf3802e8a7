"""Debian's Postfix as another's server, configured by hand: takes mail and passes all of it on to a sink."""

import pathlib
import tempfile

from .addresses import free_port
from .dovecot import Logins
from .postfix import Postfix
from .server import SCRATCH

SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Relay(Postfix):
    """`parameters` are main.cf's; it listens at `addresses`, with `implicit` in TLS from the first octet. With `logins`, which are
    (mechanisms, user, password), it takes mail of that user and of nobody else."""

    def __init__(self, sink, parameters={}, port=None, addresses=("127.0.0.1",), implicit=False, logins=None):
        self.home, self.account, self.logins = pathlib.Path(tempfile.mkdtemp(prefix="r-", dir=SCRATCH)), logins, None
        configuration, port = self.home / "etc", port or free_port()
        configuration.mkdir()
        main = {"compatibility_level": "3.6", "myhostname": "relay.example.net", "mydestination": "", "alias_maps": "", "smtputf8_enable": "no",
                "inet_interfaces": "all", "inet_protocols": "ipv4", "relayhost": f"[127.0.0.1]:{sink.port}"}
        if logins:
            main |= {"mynetworks": "", "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/auth",
                     "smtpd_sasl_security_options": "noanonymous", "smtpd_relay_restrictions": "permit_sasl_authenticated, reject"}
        (configuration / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in (main | parameters).items()))
        wrapper = "yes" if implicit else "no"
        (configuration / "master.cf").write_text(
            "".join(f"{address}:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode={wrapper}\n" for address in addresses) + SERVICES)
        super().__init__(configuration, self.home / "instance", port)

    def start(self):
        super().start()
        if self.account:
            self.logins = Logins.of_one(self, self.home / "dovecot", *self.account).start()
        return self

    def stop(self):
        if self.logins:
            self.logins.stop()
        super().stop()
