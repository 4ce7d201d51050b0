"""What mails say."""
from __future__ import annotations

from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime, localtime, make_msgid

from attrs import field, frozen

# Twisted's client wants lines that end with "\n"; links are not broken, nor is anything encoded that is plain text.
_PLAIN = default.clone(max_line_length=900)


@frozen
class Letter:
    """A mail to one address; `about` names it in logs, where addresses have no place."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    about: str

    def written(self, sender: str) -> bytes:
        """The mail as it is sent, headers and all."""
        mail = EmailMessage(policy=_PLAIN)
        mail["From"], mail["To"], mail["Subject"] = sender, self.to, self.subject
        mail["Date"] = format_datetime(localtime())
        mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(self.text)
        return mail.as_bytes()


def reset_link(user_id: int, to: str, link: str, minutes: int) -> Letter:
    """The mail by which a new password is set."""
    return Letter(to, "Set a new password", f"""Somebody, most likely you, asked to set a new password for this account.

This page sets it, once, within {minutes} minutes:

{link}

If you did not ask for it, do nothing: your password stays as it is.
""", f"the link of a reset for account {user_id}")


def reset_done(user_id: int, to: str) -> Letter:
    """The mail that says that it was done."""
    return Letter(to, "Your password was changed", """The password of this account was set anew by a link that was mailed to this address.
All devices that were logged in have to log in again.

If it was not you, ask for a new password at once, and tell your administrator.
""", f"the notice of a reset for account {user_id}")
