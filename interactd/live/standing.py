"""Whether those who listen still may: asked at least every 5 s, so that a lost hint delays an end by no more (contract section 2)."""
from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from interactd.auth.sessions import Sessions
from interactd.db import Database, Statement
from interactd.errors import Unavailable
from interactd.live.closing import Close
from interactd.live.session import Session

# NULL: the device is gone or inactive; another number: it has a newer socket, at this node or another.
FALLEN = Statement("fallen_devices", """
SELECT w.device_id, d.generation FROM unnest(:devices::bigint[], :generations::bigint[]) w (device_id, generation)
LEFT JOIN devices d ON d.id = w.device_id AND d.active
WHERE d.generation IS DISTINCT FROM w.generation""")

log = Logger()


async def fallen(database: Database, sessions: Sessions, open_ones: Sequence[Session]) -> list[tuple[Session, Close, str]]:
    """Those whose session, device or turn has ended, and why; the sessions of the others are renewed. Nobody while the database is away."""
    if not open_ones:
        return []
    try:
        good = await sessions.good({one.entry.session_id for one in open_ones})
        rows = await database.query(FALLEN, devices=[one.entry.device_id for one in open_ones],
                                    generations=[one.entry.generation for one in open_ones])
    except Unavailable:
        log.warn("open sockets are not checked again while the database is away")
        return []
    newest: dict[int, int | None] = dict(rows)
    ended = [(one, Close.TOKEN, "the session has ended") for one in open_ones if one.entry.session_id not in good]
    for one in open_ones:
        if one.entry.session_id in good and one.entry.device_id in newest:
            replaced = newest[one.entry.device_id] is not None
            ended.append((one, Close.REPLACED, "a newer socket of the device") if replaced else (one, Close.DEVICE, "the device is gone"))
    return ended
