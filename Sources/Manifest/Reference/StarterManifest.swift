// `valija init`: a manifest to begin with. Valid and without warnings as it stands; what is commented out has the defaults, and
// is valid once the `#` at the beginning of its line is gone. Tests hold it to both.

package enum StarterManifest {
    package static let text = """
        # yaml-language-server: $schema=./valija.schema.json
        # The line above is for editors: they complete and check this file after: valija schema > valija.schema.json
        #
        # A mail server in one file. Change the names, then: valija check FILE, and valija serve FILE.
        # All keys are in docs/manifest.md. Lines that begin with # and no space show defaults and examples to uncomment.
        apiVersion: valija/v1

        # This server's name on the Internet; its address should lead back to this name.
        hostname: mx.example.org

        # The domains that this server takes mail for. Every user and alias is an address in each local one.
        domains:
          example.org: {}
        #  shop.example:              # an address space of its own
        #    kind: virtual
        #    addresses:
        #      postmaster: postmaster
        #      orders: [alice, bob]
        #      "*": alice             # everything else
        #  branch.example:            # taken, and passed on to another server
        #    kind: relay
        #    via: "[192.0.2.25]:25"

        # Who has a mailbox.
        users:
          alice:
            name: Alice Example
          bob: {}
        #  carol:
        #    quota: 2GiB
        #    forward: carol@example.net
        #    keep_copy: true

        # More addresses, and whom each reaches.
        aliases:
          postmaster: alice           # every domain has to have one (RFC 5321)
          abuse: postmaster
          sales: [alice, bob]

        # The character that begins an extension: alice+lists@example.org reaches alice.
        #address_extension: "+"

        # Clients that may send mail to anywhere, without a login. Name your own networks only.
        #networks: [127.0.0.0/8, "::1/128"]

        # The server that takes all mail to the outside; without it, each domain's own server gets it.
        #relayhost: "[smtp.example.net]:25"

        #limits:
        #  message_size: 10240000
        #  mailbox_size: 51200000

        #mailboxes:
        #  format: maildir            # or mbox
        #  directory: /var/mail

        #listen:
        #  smtp: ["0.0.0.0:25", "[::]:25"]
        #  health: ["0.0.0.0:8080"]

        #queue:
        #  directory: /var/spool/valija
        #  lifetime: 5d

        # What has to be true of this file. valija check tries it, and so does serve before it starts.
        tests:
          - { rcpt: sales@example.org, reaches: [alice, bob] }
          - { rcpt: nobody@example.org, refused: 550 }
          - { client: 203.0.113.9, rcpt: someone@elsewhere.example, refused: 554 }

        """
}
