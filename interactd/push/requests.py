"""How a notification is asked of Apple: its headers."""
from __future__ import annotations

from functools import lru_cache

from attrs import field, frozen

from interactd.push.compression import Fields, Pairs, authorization, literal, path
from interactd.push.notification import Notification
from interactd.push.tokens import ProviderToken


@lru_cache(maxsize=64)
def _common(topic: str, push_type: str, priority: int) -> Pairs:
    return (b"apns-topic", topic.encode()), (b"apns-push-type", push_type.encode()), (b"apns-priority", b"%d" % priority)


@lru_cache(maxsize=4)
def _authorization(token: str) -> bytes:
    return authorization(b"bearer " + token.encode())


@frozen
class Requests:
    """Makes requests to one host; `token` is None where a certificate says who we are."""

    authority: str
    token: ProviderToken | None
    _pseudo: Pairs = field(init=False)

    @_pseudo.default
    def _headers_of_all(self) -> Pairs:
        return (b":method", b"POST"), (b":scheme", b"https"), (b":authority", self.authority.encode())

    @property
    def generation(self) -> int:
        """Of the provider token that a request now carries."""
        return self.token.generation if self.token is not None else 0

    def headers(self, notification: Notification) -> Fields:
        """All of them; what differs from push to push, and the token, is kept out of the compression's tables."""
        own = literal(b"apns-id", notification.apns_id.encode()) + literal(b"apns-expiration", b"%d" % notification.expiration)
        if notification.collapse_id:
            own += literal(b"apns-collapse-id", notification.collapse_id.encode())
        if self.token is not None:
            own += _authorization(self.token.current())
        return Fields(self._pseudo, path(b"/3/device/" + notification.token.encode()),
                      _common(notification.topic, notification.push_type, notification.priority), own)
