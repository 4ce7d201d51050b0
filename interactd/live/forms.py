"""Which forms of the socket are spoken here."""
from __future__ import annotations

from collections.abc import Iterable

from interactd.live.numbered import Numbered
from interactd.live.session import Plain, Session

FORMS: dict[str, type[Session]] = {"interactd.1": Numbered}


def form_of(offered: Iterable[str]) -> type[Session]:
    """The form for the subprotocols a client offers: the first one that is spoken here, else the seed's."""
    return next((FORMS[name] for name in offered if name in FORMS), Plain)
