"""One's own sessions: where one is logged in, and the end of a login that one can not log out of (additions, contract section 13)."""
from __future__ import annotations

from attrs import frozen

from interactd.api import sql
from interactd.api.answer import Answer, deleted
from interactd.api.call import PAGING, USER, call
from interactd.api.context import Context
from interactd.api.fields import fields_of, ident, server
from interactd.api.listing import Listing
from interactd.changes import Ended
from interactd.db import Statement


def _moment(column: str) -> int:
    said: int = server(column, {"type": "integer", "format": "int64"}, f"(extract(epoch FROM {{t}}.{column}) * 1000)::bigint")
    return said


@frozen
class Session:
    """A login: when and from where; `current` is the one that asks."""

    id: int = ident()
    scope: str = server("scope", {"type": "string"})
    created: int = _moment("created_at")
    last_used: int = _moment("used_at")
    expires: int = _moment("expires_at")
    address: str = server("address", {"type": "string"})
    agent: str = server("agent", {"type": "string"})
    current: bool = server("current", {"type": "boolean"}, "({t}.id = :session::bigint)")


OPEN = Listing("sessions_open", "sessions t", sql.shown(fields_of(Session)), "t.user_id = :owner AND t.expires_at > now()")
END = Statement("session_end", "DELETE FROM sessions WHERE user_id = :owner AND id = :id AND expires_at > now() RETURNING id")


@call("GET", "/v2/myAccount/sessions", may=USER, realm=750, name="session.list", query=PAGING, answer=Session, wrapped="list")
async def sessions(c: Context) -> Answer:
    """List one's open sessions."""
    return await OPEN.answer(c, owner=c.owner, session=c.user.session_id)


@call("DELETE", "/v2/myAccount/sessions/:id", may=USER, realm=750, kind="session", name="session.delete", wrapped="deleted")
async def end(c: Context, ident: int) -> Answer:
    """End one of one's sessions, as logging out there does: its sockets close, its devices stay."""
    await c.one(END, owner=c.owner, id=ident)
    c.announce(Ended(c.owner, (ident,)))
    return deleted()


CALLS = (sessions, end)
