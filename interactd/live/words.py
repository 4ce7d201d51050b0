"""What a client of interactd.1 may say (contract section 7)."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import frozen

from interactd.errors import Invalid

_MOST = 1 << 63


@frozen
class Resume:
    """Go on behind `seq`, a number of the epoch."""

    seq: int
    epoch: str


@frozen
class Ack:
    """Everything up to `seq` has arrived."""

    seq: int


@frozen
class Shown:
    """The user sees it."""

    interaction_id: int


@frozen
class Dismiss:
    """The user does not want to see it any more, on no device."""

    interaction_id: int


Word = Resume | Ack | Shown | Dismiss


def understood(message: bytes) -> Word:
    """What a message says; Invalid for anything else."""
    try:
        said = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise Invalid("a message must be JSON") from None
    if isinstance(said, dict):
        for name, read in _WORDS.items():
            if name in said:
                return read(said)
    raise Invalid("a message must be one of resume, ack, shown, dismiss")


def resume_of(said: Mapping[str, Any]) -> Resume:
    """`{"resume": seq, "epoch": e}`; Invalid for anything else."""
    _only(said, "resume", "epoch")
    epoch = said.get("epoch", "")
    if not isinstance(epoch, str):
        raise Invalid("epoch must be a text")
    return Resume(_number(said["resume"], "resume"), epoch)


def _one(name: str, made: Callable[[int], Word]) -> Callable[[Mapping[str, Any]], Word]:
    def read(said: Mapping[str, Any]) -> Word:
        _only(said, name)
        return made(_number(said[name], name))
    return read


def _only(said: Mapping[str, Any], *names: str) -> None:
    if not said.keys() <= set(names):
        raise Invalid(f"a message of {names[0]} has something unknown in it")


def _number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise Invalid(f"{name} must be a number")
    return value


_WORDS: dict[str, Callable[[Mapping[str, Any]], Word]] = {
    "resume": resume_of, "ack": _one("ack", Ack), "shown": _one("shown", Shown), "dismiss": _one("dismiss", Dismiss)}
