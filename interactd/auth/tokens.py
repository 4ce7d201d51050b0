"""Bearer tokens: 32 bytes in URL-safe base64 without padding, of which the database holds only the SHA-256."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import token_bytes

SIZE = 32


def spell(raw: bytes) -> str:
    """The text a client gets for the bytes of a token."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def new_token() -> str:
    """A token nobody can guess."""
    return spell(token_bytes(SIZE))


def digest(token: str) -> bytes:
    """The SHA-256 by which a token is stored and looked up, for any text a client may send."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
