"""The daemon's parts, made and joined in one breath, on a database that is migrated already."""
from __future__ import annotations

from typing import Any

from attrs import frozen

from interactd.api.app import Api
from interactd.api.context import App
from interactd.auth.credentials import Credentials
from interactd.auth.passwords import Passwords
from interactd.auth.resets import Resets
from interactd.auth.sessions import Sessions
from interactd.auth.throttle import Throttle
from interactd.auth.triggerkeys import open_keys
from interactd.calls import CALLS
from interactd.changes import Hub, PasswordReset
from interactd.config import Config
from interactd.db import Database
from interactd.epochs import renew_epochs
from interactd.events.intake import Intake
from interactd.images import Images
from interactd.imports.service import Imports
from interactd.jobs.timed import Jobs
from interactd.live.service import Live
from interactd.mail.outbox import Outbox
from interactd.mail.smtp import mail_server
from interactd.nodes.bus import Bus
from interactd.nodes.census import ALIVE, Census
from interactd.nodes.postgres import Postgres
from interactd.nodes.redis import Redis
from interactd.push.identity import identity
from interactd.push.presence import Presence
from interactd.push.service import Push

PATIENCE = 10.0         # seconds for the requests in work when the daemon stops


@frozen
class Parts:
    """What runs behind the port; `stop` ends it in reverse order."""

    app: App
    api: Api
    services: tuple[Any, ...]

    async def stop(self) -> None:
        """Requests in work are answered, then everything is stopped."""
        await self.api.work.done(self.app.clock, PATIENCE)
        for service in reversed(self.services):
            await _settled(service.stopService())
        await self.app.sessions.settled()


async def _settled(result: Any) -> None:
    if result is not None:
        await result


async def build(reactor: Any, config: Config, dsn: str) -> Parts:
    """All parts, started; the first error is raised."""
    server, apple = mail_server(reactor, config), identity(config.apns)
    database = Database(reactor, dsn, config.database.pool, public_url=config.http.public_url)
    await database.open()
    await renew_epochs(database, config)
    hub = Hub()
    passwords = Passwords(config.auth, reactor)
    images = Images(config.limits, reactor)
    throttle = Throttle(config.auth.login_attempts, config.auth.login_window)
    credentials = Credentials(database, passwords, throttle, reactor.seconds)
    sessions = Sessions(database, hub, credentials, config, reactor.seconds)
    keys = await open_keys(config.auth.trigger_keys_file or config.state.directory / "trigger-keys", database)
    census = Census(database, reactor)
    live = Live(database, hub, sessions, config.live, reactor, node=lambda: census.id)
    intake = Intake(reactor, dsn, config, hub)
    await intake.open()
    outbox = Outbox(reactor, server.deliver if server else None, config.mail.waiting)
    resets = Resets(database, hub, outbox, config, reactor.seconds)
    hub.subscribe(PasswordReset, lambda reset: credentials.forgive(reset.name, reset.address))
    await census.enter()
    bus = Bus(hub, census, Redis(reactor, config.bus.url, config.bus.service) if config.bus.url else Postgres(reactor, dsn), reactor)
    presence = Presence(live.registry.listens, lambda: census.others > 0, lambda: census.id, ALIVE)
    push = Push(apple, database, hub, config, reactor, presence=presence)
    app = App(config, database, hub, sessions, passwords, images, credentials, keys, intake, reactor, live, Imports(reactor, config.imports),
              resets, bus, CALLS, push)
    jobs = Jobs(reactor, database, config, hub)
    for service in (census, bus, passwords, images, outbox, resets, live, push, jobs):
        service.startService()
    return Parts(app, Api(app, CALLS), (database, census, bus, passwords, images, outbox, resets, jobs, live, push, intake))
