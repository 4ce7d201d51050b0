"""How a notification is asked of Apple: its headers."""
from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from interactd.push.notification import Notification
from interactd.push.tokens import ProviderToken


@frozen
class Requests:
    """Makes requests to one host; `token` is None where a certificate says who we are."""

    authority: str
    token: ProviderToken | None

    @property
    def generation(self) -> int:
        """Of the provider token that a request now carries."""
        return self.token.generation if self.token is not None else 0

    def headers(self, notification: Notification) -> Sequence[HeaderTuple]:
        """All of them, in the order of RFC 9113; what differs from push to push is kept out of the compression's tables."""
        found: list[HeaderTuple] = [
            HeaderTuple(b":method", b"POST"), HeaderTuple(b":scheme", b"https"), HeaderTuple(b":authority", self.authority.encode()),
            NeverIndexedHeaderTuple(b":path", b"/3/device/" + notification.token.encode()),
            HeaderTuple(b"apns-topic", notification.topic.encode()), HeaderTuple(b"apns-push-type", notification.push_type.encode()),
            HeaderTuple(b"apns-priority", b"%d" % notification.priority),
            NeverIndexedHeaderTuple(b"apns-id", notification.apns_id.encode()),
            NeverIndexedHeaderTuple(b"apns-expiration", b"%d" % notification.expiration),
        ]
        if notification.collapse_id:
            found.append(NeverIndexedHeaderTuple(b"apns-collapse-id", notification.collapse_id.encode()))
        if self.token is not None:
            found.append(NeverIndexedHeaderTuple(b"authorization", b"bearer " + self.token.current().encode()))
        return found
