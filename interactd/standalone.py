"""`interactctl postgres`: the embedded PostgreSQL by itself, for several daemons on one machine."""
from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from interactd.config import Config
from interactd.embedded import EmbeddedPostgres
from interactd.refusals import Refusal
from interactd.state import claim

CONNECTIONS = 300


async def serve(reactor: Any, config: Config) -> None:
    """Prints the address and returns when the process is told to stop, with PostgreSQL stopped in order; Refusal if it can not start."""
    if config.database.url != "embedded":
        raise Refusal("[database] url names another PostgreSQL: this command runs the embedded one")
    mine = claim(config.state.directory)
    postgres = EmbeddedPostgres(reactor, config.state.directory, config.database.run_as, CONNECTIONS)
    told: Deferred[None] = Deferred()
    over: Deferred[None] = Deferred()

    def stop() -> Deferred[None]:
        told.callback(None)
        return over
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    try:
        await postgres.startService()
        print(f"PostgreSQL answers; give each daemon a state directory of its own, the same [auth] trigger-keys-file, and\n"
              f"INTERACTD_DATABASE_URL={postgres.url}", flush=True)
        await told
    finally:
        await postgres.stopService()
        mine.release()
        over.callback(None)
