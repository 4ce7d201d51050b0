"""What an address book elsewhere must offer, whichever system it is of."""
from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from attrs import field, frozen

from interactd.imports.person import Entry, Photo


class Expired(Exception):
    """The other system does not know the token any more: everything must be read again."""


@frozen
class Group:
    """A group of entries; `external_id` is what `groupIds` takes."""

    external_id: str
    name: str


@frozen
class Page:
    """A part of the list. `same` and `gone` are places; the last page brings the token for the next time."""

    entries: tuple[Entry, ...] = ()
    same: tuple[str, ...] = ()              # their etag is the one that is known
    gone: tuple[str, ...] = ()              # deleted there
    token: Any = None


@frozen
class Wanted:
    """What is read: everything, or what changed since `token`; `etags` of the places known are not read again."""

    token: Any = None
    etags: Mapping[str, str] = field(factory=dict, repr=False)
    groups: bool = False                    # whether it matters which groups an entry is in


class Source(Protocol):
    """An address book of another system, logged in to when it is first asked."""

    async def groups(self) -> list[Group]:
        """Its groups."""
        ...

    def pages(self, wanted: Wanted) -> AsyncIterator[Page]:
        """The list in parts. Expired when the token is not known any more."""
        ...

    async def photo(self, photo: Photo) -> bytes | None:
        """The bytes of a photo; None when there are none to be had."""
        ...
