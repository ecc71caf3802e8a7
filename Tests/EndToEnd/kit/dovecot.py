"""Debian's Dovecot as the server that keeps the mailboxes, and as the one that tells a Postfix who may log in."""

import grp
import os
import pwd
import socket

from .addresses import free_port, wait_for
from .daemon import Daemon
from .server import BINARY, SCRATCH, run


class Dovecot(Daemon):
    """Debian's Dovecot with LMTP and nothing else; users have Maildirs below `mail`, and `full` has no room."""

    def __init__(self, users=("alice", "bob", "full"), domains=("example.org",)):
        self.home = SCRATCH / f"dovecot-{free_port()}"
        self.mail = self.home / "mail"
        self.mail.mkdir(parents=True)
        self.socket = self.home / "lmtp"
        self.port = free_port()
        owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
        group = grp.getgrgid(owner.pw_gid).gr_name
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        for directory in [self.home, *self.home.parents][:3]:
            directory.chmod(directory.stat().st_mode | 0o11)
        (self.home / "users").write_text("".join(f"{user}@{domain}:::::::\n" for user in users for domain in domains))
        (self.home / "dovecot.conf").write_text(f"""
base_dir = {self.home}/run
state_dir = {self.home}/state
log_path = {self.home}/log
ssl = no
protocols = lmtp
mail_location = maildir:{self.mail}/%n
first_valid_uid = 1
default_internal_user = {owner.pw_name}
default_internal_group = {group}
default_login_user = {owner.pw_name}
postmaster_address = postmaster@example.org
passdb {{
  driver = passwd-file
  args = {self.home}/users
}}
userdb {{
  driver = passwd-file
  args = {self.home}/users
  override_fields = uid={owner.pw_uid} gid={owner.pw_gid} home={self.mail}/%n
}}
service stats {{
  client_limit = 100
}}
service anvil {{
  chroot =
}}
service lmtp {{
  unix_listener {self.socket} {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
}}
""")

    def start(self):
        self.launch("dovecot", "-F", "-c", f"{self.home}/dovecot.conf", errors=self.home / "errors")

        def is_up():
            self.is_running()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False

        wait_for(is_up, what="Dovecot")
        return self

    def log(self):
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    def letters(self, user):
        return [path.read_bytes() for path in (self.mail / user / "new").glob("*")] if (self.mail / user / "new").exists() else []


class Logins(Daemon):
    """Dovecot with no protocol, which answers a running Postfix at its queue's private/auth."""

    def __init__(self, postfix, home, text):
        """`text`: of dovecot.conf, without its directories."""
        self.home, self.socket = home, postfix.directory / "queue/private/auth"
        # Without the seconds that Dovecot lets those wait who were wrong before.
        text += "auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
        (home / "dovecot.conf").write_text(f"base_dir = {home}/run\nstate_dir = {home}/state\nlog_path = {home}/log\ninstance_name = {home.parent.name}\n{text}")

    @classmethod
    def rendered(cls, postfix, home):
        """By the rendered dovecot.conf, with the paths of this instance in place of those of the host."""
        home.mkdir()
        text = (postfix.configuration / "dovecot.conf").read_text()
        assert "/var/spool/postfix/private/auth" in text, text
        return cls(postfix, home, text.replace("/etc/postfix", str(postfix.configuration)).replace("/var/spool/postfix", str(postfix.directory / "queue")))

    @classmethod
    def of_one(cls, postfix, home, mechanisms, user, password):
        """For one user, by these mechanisms."""
        home.mkdir()
        scheme = "scram-sha-1" if "scram-sha-1" in mechanisms.split() else "scram-sha-256"
        hashed = run(BINARY, "password", "--scheme", scheme, input=password + "\n").out.strip()
        (home / "users").write_text(f"{user}:{hashed}::::::\n")
        return cls(postfix, home, f"""
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = static
  args = uid=65532 gid=65532 home=/nonexistent
}}
service auth {{
  user = root
  unix_listener {postfix.directory}/queue/private/auth {{
    mode = 0600
    user = postfix
  }}
}}
""")

    def start(self):
        self.launch("dovecot", "-F", "-c", self.home / "dovecot.conf", errors=self.home / "errors")
        wait_for(lambda: self.is_running() and self.socket.exists(), 15, "Dovecot's socket")
        return self
