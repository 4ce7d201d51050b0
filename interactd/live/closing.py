"""Why a socket ends: the close codes of contract section 7."""
from __future__ import annotations

from enum import IntEnum

from interactd.errors import ApiError, Forbidden, Invalid, NotFound, TooMany, Unavailable


class Close(IntEnum):
    """What the close frame says; the last two are of RFC 6455's registry."""

    PROTOCOL = 4400     # what the client sent is not to be understood, or too much
    TOKEN = 4401        # the token is unknown, expired or revoked, or did not come in time
    DEVICE = 4403       # the device or the token may not listen
    SLOW = 4408         # the client reads too slowly, or answers no ping
    REPLACED = 4409     # a newer socket has taken this one's place; not to be opened again by itself
    RESTART = 1012      # the daemon stops; come again after a while
    LATER = 1013        # not possible right now; come again after a while


def close_of(error: ApiError) -> Close:
    """The close code that an error of the first message stands for."""
    if isinstance(error, Invalid):
        return Close.PROTOCOL
    if isinstance(error, (Forbidden, NotFound)):
        return Close.DEVICE
    return Close.LATER if isinstance(error, (TooMany, Unavailable)) else Close.TOKEN
