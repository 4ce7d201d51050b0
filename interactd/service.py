"""The daemon as `twistd interactd` runs it: from the state directory to the open port, and back."""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from interactd import __version__, logs
from interactd.assembly import Parts, build
from interactd.config import Config
from interactd.configfile import load
from interactd.embedded import EmbeddedPostgres
from interactd.migrate import migrate
from interactd.order import InOrder, Port
from interactd.people import FIRST_ADMIN, FirstAdmin
from interactd.refusals import ConfigError, Refusal
from interactd.state import Claim, claim

_SPARE_CONNECTIONS = 30     # for interactctl, a backup, and connections that are being replaced


class Options(usage.Options):
    """The command line: where the configuration is, and what it is overruled with."""

    synopsis = "[options]"
    longdesc = "Takes interaction events and tells the right devices at once."
    optParameters = [
        ["config", "c", None, "The configuration file (else /etc/interactd/interactd.conf, if there is one)."],
        ["listen", "l", None, "Overrules [http] listen: a port, or a Twisted endpoint."],
        ["state", "s", None, "Overrules [state] directory."],
    ]

    def configuration(self) -> Config:
        """What the file, the environment and this command line say together; ConfigError names what is wrong."""
        listen = self["listen"]
        if listen and listen.isdigit():
            listen = f"tcp:{listen}:interface=127.0.0.1"
        said = {"--listen": ("http", "listen", listen), "--state": ("state", "directory", self["state"])}
        options = {option: setting for option, setting in said.items() if setting[2] is not None}
        return load(Path(self["config"]) if self["config"] else None, options=options)


def makeService(options: Options) -> Daemon:
    """The daemon of twistd's plugin and of interactd.tac."""
    from twisted.internet import reactor
    try:
        config = options.configuration()
    except ConfigError as faults:
        raise SystemExit(f"interactd does not start.\n{faults}")
    use_monotonic_time(reactor)
    return Daemon(reactor, config)


def use_monotonic_time(reactor: Any) -> None:
    """Let the reactor's timers count seconds that pass; by its own clock, the wall clock, a step fires or freezes them all."""
    reactor.seconds = time.monotonic


class Daemon(InOrder):
    """Everything: the claim on the state directory, the database, its schema, the parts behind the port, the port."""

    log = Logger()

    def __init__(self, reactor: Any, config: Config) -> None:
        InOrder.__init__(self)
        self._reactor = reactor
        self._config = config
        self._claim: Claim | None = None
        self._opening: Deferred[None] | None = None
        self._stopping = False

    def startService(self) -> Deferred[None]:
        """Fires when the port is open, or when the reason why not has been logged and the reactor told to stop."""
        self._opening = Deferred.fromCoroutine(self._open())
        return self._opening.addErrback(self._give_up)

    def stopService(self) -> Deferred[None]:
        """Fires when the port, the parts behind it and at last PostgreSQL are gone."""
        self._stopping = True
        if self._opening is not None:
            self._opening.cancel()
        return super().stopService().addBoth(self._unclaim)

    async def _open(self) -> None:
        reactor, config = self._reactor, self._config
        logs.apply(config.log)
        self._claim = claim(config.state.directory)
        dsn = await self._database()
        for migration in await deferToThreadPool(reactor, reactor.getThreadPool(), migrate, dsn):
            self.log.info("applied {name}", name=migration.name)
        behind = Behind(reactor, config, dsn)
        await self.begin(behind)
        await self._first_administrator(behind.parts)
        port = Port(serverFromString(reactor, config.http.listen), behind.parts.api.site(), config.http.listen)
        await self.begin(port)
        Service.startService(self)
        self.log.info("interactd {version} answers at {address}; its state is in {state}", version=__version__,
                      address=port.address, state=str(config.state.directory))

    async def _database(self) -> str:
        """The address of the database, which accepts connections if it is our own."""
        if self._config.database.url != "embedded":
            return self._config.database.url
        wanted = self._config.database
        connections = wanted.pool + wanted.event_pool + _SPARE_CONNECTIONS
        postgres = EmbeddedPostgres(self._reactor, self._config.state.directory, wanted.run_as, connections)
        await self.begin(postgres)
        return postgres.url

    async def _first_administrator(self, parts: Parts) -> None:
        state = self._config.state.directory
        first = FirstAdmin.new(state)
        if await first.ensure(parts.app.database, parts.app.passwords) and first.terminal is None:
            self.log.info("the first administrator's name and password are in {file}", file=str(state / FIRST_ADMIN))

    def _give_up(self, failure: Failure) -> None:
        if self._stopping:
            return
        if failure.check(Refusal):
            self.log.critical("interactd does not start: {reason}", reason=failure.getErrorMessage())
        else:
            self.log.failure("interactd does not start", failure=failure)
        atexit.register(_leave_unhappily)
        self._reactor.callWhenRunning(self._reactor.stop)

    def _unclaim(self, result: Any) -> Any:
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        return result


class Behind(Service):
    """The parts behind the port."""

    parts: Parts

    def __init__(self, reactor: Any, config: Config, dsn: str) -> None:
        self._made_of = (reactor, config, dsn)
        self._built = False

    def startService(self) -> Deferred[None]:
        """Fires when `parts` are running."""
        Service.startService(self)
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.parts = await build(*self._made_of)
        self._built = True

    def stopService(self) -> Deferred[None] | None:
        """Fires when the parts have stopped."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self.parts.stop()) if self._built else None


def _leave_unhappily() -> NoReturn:
    """End with status 1 (twistd itself always leaves with 0), so that systemd and scripts see a failed start."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
