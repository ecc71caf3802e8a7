"""Debian's Dovecot as the server that keeps the mailboxes."""

import grp
import os
import pwd
import socket
import subprocess

from .addresses import free_port, wait_for
from .server import SCRATCH


class Dovecot:
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

    def __enter__(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", f"{self.home}/dovecot.conf"], stderr=subprocess.PIPE)

        def is_up():
            assert self.process.poll() is None, (self.process.stderr.read(), self.log())
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

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
