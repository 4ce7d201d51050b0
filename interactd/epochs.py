"""Epochs: numbers of one database say nothing of another, so a restored one counts in new epochs (contract section 9)."""
from __future__ import annotations

from twisted.logger import Logger

from interactd.cluster import control_file
from interactd.config import Config
from interactd.db import Database, Statement

RENEW = Statement("renew_epochs", "SELECT renew_epochs(:files)")

log = Logger()


async def renew_epochs(database: Database, config: Config) -> None:
    """If this is another database than at the last start (restored, or a standby that took over), every user's epoch is new."""
    if (await database.query(RENEW, files=files_of(config)))[0][0]:
        log.warn("this is another database than at the last start: all devices must synchronize anew")


def files_of(config: Config) -> str:
    """What tells the embedded cluster from a copy of its files: PostgreSQL writes this one in place, and no copy has its inode."""
    if config.database.url != "embedded":
        return ""
    try:
        return str(control_file(config.state.directory).stat().st_ino)
    except OSError:
        return ""
