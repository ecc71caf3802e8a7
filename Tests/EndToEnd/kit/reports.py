"""Delivery reports (RFC 3464, 6522, 6533) as Python's email package reads them."""

import email
import email.policy


class Report:
    """`text` for people, `message` and `recipients` with the fields of the status, and what was returned."""

    def __init__(self, letter):
        self.mail = email.message_from_bytes(letter.data, policy=email.policy.default)
        assert not self.mail.defects, self.mail.defects
        assert self.mail.get_content_type() == "multipart/report", self.mail["Content-Type"]
        assert self.mail.get_param("report-type") == "delivery-status", self.mail["Content-Type"]
        assert self.mail["Auto-Submitted"] and self.mail["Return-Path"] == "<>", list(self.mail.items())
        text, self.status, self.returned = self.mail.get_payload()
        assert text.get_content_type() == "text/plain", text.get_content_type()
        self.text = text.get_content()
        self.kind = self.status.get_content_type()
        assert self.kind in ("message/delivery-status", "message/global-delivery-status"), self.kind
        blocks = self.status.get_payload()
        if self.kind == "message/global-delivery-status":  # Python takes it for a message, with a header and a body
            text = letter.data.partition(self.kind.encode())[2].decode().partition("\n\n")[2].partition("\n\n--")[0]
            blocks = [email.message_from_string(block, policy=email.policy.default) for block in text.split("\n\n")]
        self.message, *recipients = [block for block in blocks if block.keys()]
        for block in [self.message, *recipients]:
            assert not block.defects, block.defects
        self.recipients = {address(block["Final-Recipient"]): block for block in recipients}

    @property
    def actions(self):
        return {recipient: fields["Action"] for recipient, fields in self.recipients.items()}


def address(field):
    return field.partition(";")[2].strip()
