"""Epochs: numbers of one database say nothing of another, so a restored one counts in new epochs (contract section 9)."""
from __future__ import annotations

from twisted.logger import Logger

from interactd.db import Database, Statement

RENEW = Statement("renew_epochs", "SELECT renew_epochs()")

log = Logger()


async def renew_epochs(database: Database) -> None:
    """If this is another database than at the last start (a restored dump, a standby that took over), every user's epoch is new."""
    if (await database.query(RENEW))[0][0]:
        log.warn("this is another database than at the last start: all devices must synchronize anew")
