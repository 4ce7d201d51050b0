"""What one node tells the others: whose rows are worth a look. The rows are the truth; a hint says nothing that is believed."""
from __future__ import annotations

from collections.abc import Iterator

import orjson
from attrs import define, field, frozen

MOST = 150              # users or devices in one message, which so stays below the 8000 bytes of a NOTIFY


@frozen
class Hint:
    """A message of the node `sender`. Without users it only says that the node is there."""

    sender: int
    told: tuple[int, ...] = ()                      # users that have new events or changed interactions
    ended: tuple[int, ...] = ()                     # users whose sessions, devices or roles changed
    moved: tuple[tuple[int, int], ...] = ()         # user and device: a phone that changed hands
    worked: tuple[int, ...] = ()                    # users whose imports have come further

    def text(self) -> str:
        """As JSON, without what is empty."""
        body = {"from": self.sender, "told": self.told, "ended": self.ended, "moved": self.moved, "worked": self.worked}
        return orjson.dumps({name: value for name, value in body.items() if value}).decode()


def read(text: str) -> Hint:
    """The hint in a message; ValueError for anything else, since whoever reaches the bus can write to it."""
    try:
        body = orjson.loads(text)
        told, ended, worked = (tuple(map(_number, body.get(name, ()))) for name in ("told", "ended", "worked"))
        moved = tuple((_number(user), _number(device)) for user, device in body.get("moved", ()))
        return Hint(_number(body["from"]), told, ended, moved, worked)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("not a hint") from None


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


@define
class Gathered:
    """What is to be told with the next messages; whoever is named twice is told once."""

    told: set[int] = field(factory=set)
    ended: set[int] = field(factory=set)
    moved: set[tuple[int, int]] = field(factory=set)
    worked: set[int] = field(factory=set)

    def hints(self, sender: int) -> Iterator[Hint]:
        """Everything, in as many messages as it takes."""
        for name in ("told", "ended", "moved", "worked"):
            whom = sorted(getattr(self, name))
            for begin in range(0, len(whom), MOST):
                yield Hint(sender, **{name: tuple(whom[begin:begin + MOST])})
