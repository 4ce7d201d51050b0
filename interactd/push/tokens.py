"""The provider token: who we are, signed, renewed neither too often nor too late."""
from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

LIFE = 1800             # a new token on each boundary of so many seconds: equal for all processes and after restarts
YOUNGEST = 1200         # Apple refuses updates more often than that


def _part(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _algorithm() -> ECDSA:
    """Without chance, if OpenSSL can (3.2): all processes then have the very same token."""
    try:
        return ECDSA(SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        return ECDSA(SHA256())


def signed(key: EllipticCurvePrivateKey, key_id: str, team_id: str, issued: int) -> str:
    """A JWT by ES256."""
    text = _part(orjson.dumps({"alg": "ES256", "kid": key_id})) + b"." + _part(orjson.dumps({"iss": team_id, "iat": issued}))
    r, s = decode_dss_signature(key.sign(text, _algorithm()))
    return (text + b"." + _part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


class ProviderToken:
    """The token that all connections of a key use; `wall` counts seconds since 1970. `generation` rises with each new one."""

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str, wall: Callable[[], float]) -> None:
        self.generation = 0
        self.issued = 0
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._wall = wall
        self._text = ""
        self._good_until = 0

    @property
    def age(self) -> float:
        """Seconds since it says it was issued."""
        return self._wall() - self.issued

    def current(self) -> str:
        """The token for a request that leaves now."""
        now = int(self._wall())
        if not self.issued <= now < self._good_until:
            self._mint(now - now % LIFE)
        return self._text

    def renew(self, generation: int) -> bool:
        """Apple calls the token of this generation expired. False: it is fresh, so the clock is wrong."""
        if generation != self.generation:
            return True                     # of a burst of refusals, the first one has renewed it
        if 0 <= self.age < YOUNGEST:
            return False
        self._mint(int(self._wall()))
        return True

    def _mint(self, issued: int) -> None:
        self.generation += 1
        self.issued = issued
        self._good_until = -(-(issued + YOUNGEST) // LIFE) * LIFE       # the first boundary at which a new one is allowed
        self._text = signed(self._key, self._key_id, self._team_id, issued)
