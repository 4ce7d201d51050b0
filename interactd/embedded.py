"""The embedded PostgreSQL as a service: made if it is missing, awaited, watched, started again when it dies, stopped last."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from interactd import cluster
from interactd.accounts import account_for, detached
from interactd.refusals import ClusterError

_LOOK_EVERY = 0.02          # seconds between two looks at what PostgreSQL says of itself
_PATIENCE = 60.0            # seconds a stop may take before PostgreSQL is told to drop everything (it then recovers from its log)
_LONGEST_PAUSE = 30.0       # seconds between two starts of a PostgreSQL that keeps dying
_STILL_HELD = re.compile(r"shared memory block|lock file")     # what a killed server leaves behind until its last process ends
_HELD_PAUSE = 0.5
_HELD_TRIES = 60
_LOG_LOOKS = 100            # how often the log of a server that gave up is looked at before it counts as silent

log = Logger()


class Child(ProcessProtocol):
    """A process of the cluster: what it said last, and Deferreds for its end."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.pid = 0
        self.words = b""
        self.end: str | None = None
        self.failed = False
        self._waiting: list[Deferred[str]] = []

    def connectionMade(self) -> None:
        """Note the process number, which the transport forgets at the end."""
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the last few kilobytes of what the process prints."""
        self.words = (self.words + data)[-4096:]

    def processExited(self, reason: Failure) -> None:
        """Note how it ended. (processEnded would wait for all who inherited its pipes.)"""
        self.end = str(reason.value).rstrip(".")
        self.failed = reason.check(ProcessDone) is None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(self.end)

    def ended(self) -> Deferred[str]:
        """Fires with how the process ended; may be cancelled without touching the process."""
        waiter: Deferred[str] = Deferred(self._forget)
        if self.end is None:
            self._waiting.append(waiter)
        else:
            waiter.callback(self.end)
        return waiter

    def _forget(self, waiter: Deferred[str]) -> None:
        self._waiting.remove(waiter)

    @property
    def complaint(self) -> str:
        """The last line it printed."""
        lines = self.words.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else self.end or "it says nothing"

    def signal(self, name: str) -> None:
        """Send it a signal; nothing happens if it has ended."""
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            pass


class EmbeddedPostgres(Service):
    """A PostgreSQL of our own in the state directory, which the caller has claimed."""

    name = "postgres"

    def __init__(self, reactor: Any, state: Path, run_as: str = "", connections: int = 100) -> None:
        self._reactor = reactor
        self._state = state
        self._run_as = run_as
        self._connections = connections
        self._child: Child | None = None
        self._work: Deferred[None] | None = None
        self.layout: cluster.Layout | None = None

    @property
    def url(self) -> str:
        """The address of the daemon's database, known once the service has started."""
        assert self.layout is not None
        return cluster.url(self.layout, cluster.DATABASE)

    def startService(self) -> Deferred[None]:
        """Fires when the database accepts connections; fails with ClusterError."""
        Service.startService(self)
        started: Deferred[None] = Deferred()
        self._work = Deferred.fromCoroutine(self._live(started))
        return started

    def stopService(self) -> Deferred[None]:
        """Fires when PostgreSQL has ended; those still connected are cut off (fast shutdown)."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _live(self, started: Deferred[None]) -> None:
        """Everything from the start to the stop, which cancels it."""
        try:
            layout = await self._prepared()
            await self._serving(layout)
            await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), cluster.make_database, layout)
        except CancelledError:
            started.errback(ClusterError("PostgreSQL was told to stop before it was ready"))
            return
        except Exception:
            started.errback(Failure())
            return
        started.callback(None)
        try:
            await self._watched(layout)
        except CancelledError:
            pass

    async def _prepared(self) -> cluster.Layout:
        """The cluster on disk, made if it was missing, with no server left over from a daemon that was killed."""
        account = account_for(self._run_as)
        self.layout = layout = cluster.prepare(cluster.home_for(self._state, account), account, self._connections)
        await self._without_leftover(layout)
        if not layout.data.exists():
            log.info("making a PostgreSQL cluster in {home}", home=str(layout.home))
            child = self._spawn(layout.initdb, layout)
            await child.ended()
            if child.failed:
                raise ClusterError(f"PostgreSQL can not make its files in {layout.home}: {child.complaint}")
            layout.fresh.rename(layout.data)
        cluster.check_version(layout.data)
        return layout

    async def _without_leftover(self, layout: cluster.Layout) -> None:
        begun = self._reactor.seconds()
        told = 0
        while (pid := cluster.server_pid(layout.data)) is not None:
            if told == 0:
                log.warn("PostgreSQL (process {pid}) was left by a daemon that was killed; it is started anew", pid=pid)
            wanted = signal.SIGINT if self._reactor.seconds() - begun < _PATIENCE else signal.SIGQUIT
            if wanted != told:
                os.kill(pid, wanted)
                told = wanted
            await deferLater(self._reactor, _LOOK_EVERY)
        if layout.account.is_ours:      # otherwise PostgreSQL sees that the process is not its account's
            cluster.disown_stranger(layout.data)

    async def _serving(self, layout: cluster.Layout) -> None:
        """Start PostgreSQL and wait until it accepts connections, however long it recovers from its log."""
        for _ in range(_HELD_TRIES):
            child = self._spawn(layout.postgres, layout)
            while child.end is None:
                if cluster.is_ready(layout.data) and cluster.server_pid(layout.data) == child.pid:
                    return
                await deferLater(self._reactor, _LOOK_EVERY)
            complaint = await self._complaint(layout, child)
            if not _STILL_HELD.search(complaint):
                break
            await deferLater(self._reactor, _HELD_PAUSE)
        raise ClusterError(f"PostgreSQL does not start on {layout.data}: {complaint} (see {layout.log})")

    async def _complaint(self, layout: cluster.Layout, child: Child) -> str:
        """Why a server gave up. Its log is written by a process that outlives it a little, so it is awaited for a moment."""
        for _ in range(_LOG_LOOKS):
            if words := cluster.last_words(layout, child.pid):
                return words
            await deferLater(self._reactor, _LOOK_EVERY)
        return child.complaint

    async def _watched(self, layout: cluster.Layout) -> None:
        """Start PostgreSQL again whenever it ends, later each time it does not live long."""
        pause = 0.5
        while True:
            assert self._child is not None
            begun = self._reactor.seconds()
            end = await self._child.ended()
            pause = 0.5 if self._reactor.seconds() - begun > 60 else min(pause * 2, _LONGEST_PAUSE)
            wait = pause * random.uniform(0.5, 1.0)
            log.error("PostgreSQL has ended ({end}); it is started again in {wait:.1f} s", end=end, wait=wait)
            await deferLater(self._reactor, wait)
            try:
                await self._serving(layout)
                log.info("PostgreSQL is back")
            except ClusterError as refusal:
                log.error("{refusal}", refusal=str(refusal))

    def _spawn(self, command: list[str], layout: cluster.Layout) -> Child:
        self._child = child = Child()
        program = detached(command, layout.account)
        self._reactor.spawnProcess(child, program[0], program, env=layout.environment)
        return child

    async def _stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
        if self._child is not None and self._child.end is None:
            self._child.signal("INT")
            ended = self._child.ended()
            impatient = self._reactor.callLater(_PATIENCE, self._child.signal, "QUIT")
            await ended
            if impatient.active():
                impatient.cancel()
