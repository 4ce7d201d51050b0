"""The live side of the daemon: it knows every socket, tells them of events, and ends those whose time has come."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from interactd.auth.sessions import Sessions
from interactd.changes import Changed, DeviceMoved, Elsewhere, Ended, Entered, Hub, Notice, Progress
from interactd.config import Live as Settings
from interactd.db import Database
from interactd.errors import ApiError
from interactd.live.admission import Admission
from interactd.live.closing import Close, close_of
from interactd.live.crowd import Crowd
from interactd.live.departures import Departures
from interactd.live.dismissals import Dismissals
from interactd.live.ledger import Ledger
from interactd.live.notify import Notifier
from interactd.live.registry import Registry
from interactd.live.replay import Replay
from interactd.live.rows import Rows
from interactd.live.session import Desk, Entry
from interactd.live.websocket import Socket
from interactd.live.wire import factory, without_debug_texts

TICK = 1.0              # seconds between two looks at the sockets' due times


class Live(Service):
    """All sockets of this process. `clock` counts monotonic seconds, `node` says this daemon's number among the others."""

    log = Logger()

    def __init__(self, database: Database, hub: Hub, sessions: Sessions, config: Settings, clock: IReactorTime, *,
                 node: Callable[[], int] = lambda: 0) -> None:
        without_debug_texts()
        self.config = config
        self.node = node
        self.now: Callable[[], float] = clock.seconds
        self.factory = factory()
        self.admission = Admission(config.unauthenticated_per_address, config.unauthenticated)
        self.registry = Registry(config.sockets_per_user)
        self.ledger = Ledger(database, hub, clock)
        self.notifier = Notifier(database, self.registry, self.ledger, config, self._work)
        self.replay = Replay(database, config, self._work)
        self.dismissals = Dismissals(database, hub, self.ledger, self._work)
        self.desk = Desk(self.ledger, self.replay, self.dismissals.dismiss, self.now, config.heartbeat_every)
        self._rows = Rows(database, sessions, self.registry, self.notifier, self.replay, self._work)
        self._departures = Departures(database, self._work)
        self.sockets = Crowd()
        self._database = database
        self._sessions = sessions
        self._hub = hub
        self._clock = clock
        self._subscribed: list[Callable[[], None]] = []
        self._loops: list[LoopingCall] = []
        self._works: set[Deferred[Any]] = set()

    def startService(self) -> None:
        """From now on events are told and sockets looked after."""
        Service.startService(self)
        self._subscribed = [self._hub.subscribe(Notice, self.notifier.tell), self._hub.subscribe(Changed, self.notifier.changed),
                            self._hub.subscribe(DeviceMoved, self.notifier.moved), self._hub.subscribe(Ended, self._ended),
                            self._hub.subscribe(Entered, self._entered), self._hub.subscribe(Progress, self.notifier.progressed),
                            self._hub.subscribe(Elsewhere, self._rows.elsewhere)]
        for every, act in ((TICK, lambda: self.sockets.look(self.now())), (self.config.sweep_every, lambda: self._work(self._swept()))):
            loop = LoopingCall(act)
            loop.clock = self._clock
            loop.start(every, now=False)
            self._loops.append(loop)

    def stopService(self) -> Deferred[None]:
        """Fires when every client was told to come back, each at another time, and all marks are written."""
        Service.stopService(self)
        while self._subscribed:
            self._subscribed.pop()()
        while self._loops:
            self._loops.pop().stop()
        return Deferred.fromCoroutine(self._stop())

    def arrived(self, socket: Socket) -> None:
        """The socket has taken over its connection."""
        self.sockets.add(socket)
        socket.wait(self.now() + self.config.first_message_timeout)
        if socket.entry is None:
            self.admission.enter(socket.address)

    def opened(self, socket: Socket) -> None:
        """The handshake is done."""
        if not self.running:
            socket.send_away(1000)
        elif socket.entry is not None:
            self._begin(socket, socket.entry)

    def introduced(self, socket: Socket, message: bytes) -> None:
        """The first message of a socket opened without a token; what comes behind it waits until it is understood."""
        authenticate, socket.authenticate = socket.authenticate, None
        if authenticate is None:
            socket.early.append(message)
            return
        socket.transport.pauseProducing()
        self._work(self._authenticate(socket, authenticate(message)))

    def left(self, socket: Socket) -> None:
        """Nothing is told to this socket any more."""
        if socket.session is not None and self.registry.discard(socket.session):
            self._departures.left(socket.session.entry)

    def gone(self, socket: Socket) -> None:
        """The connection is lost."""
        self.left(socket)
        if socket in self.sockets:
            self.sockets.discard(socket)
            if socket.entry is None:
                self.admission.leave(socket.address)
            elif socket.session is None:
                self._departures.left(socket.entry)         # it was never open

    def _begin(self, socket: Socket, entry: Entry) -> None:
        session = socket.session = socket.form(socket, entry, self.desk)
        for older in self.registry.add(session):
            self._departures.left(older.entry)
            older.line.end(Close.REPLACED, "a newer socket has taken the place of this one")
        session.opened()
        socket.wait(self.now() + self.config.ping_every)
        while socket.early:
            session.received(socket.early.pop(0))
        if entry.waiting and not session.numbered:
            self._work(self.notifier.sweep([session]))

    async def _authenticate(self, socket: Socket, entering: Awaitable[Entry]) -> None:
        try:
            entry = await entering
        except ApiError as error:
            socket.end(close_of(error), error.devmsg[:120])
            return
        finally:
            if socket in self.sockets:
                socket.transport.resumeProducing()
        if socket in self.sockets and socket.state == socket.STATE_OPEN:
            self.admission.leave(socket.address)
            socket.entry = entry
            self._begin(socket, entry)
        else:
            self._departures.left(entry)

    async def _swept(self) -> None:
        self.notifier.forget()
        await self.dismissals.again()
        await self._rows.look(list(self.registry))

    def _entered(self, entered: Entered) -> None:
        session = self.registry.of(entered.user_id).get(entered.device_id)
        if session is not None and session.entry.generation < entered.generation:
            session.line.end(Close.REPLACED, "a newer socket has taken the place of this one")

    def _ended(self, ended: Ended) -> None:
        for session in tuple(self.registry.of(ended.user_id).values()):
            entry = session.entry
            if entry.session_id != ended.kept_session_id and (ended.session_ids is None or entry.session_id in ended.session_ids):
                session.line.end(Close.TOKEN, "the session has ended")
            elif entry.device_id in ended.device_ids:
                session.line.end(Close.DEVICE, "the device is gone or inactive")

    def _work(self, work: Any) -> Deferred[None]:
        """Runs beside everything else; `stopService` waits for it."""
        begun: Deferred[None] = Deferred.fromCoroutine(work)
        self._works.add(begun)

        def done(result: Any) -> None:
            self._works.discard(begun)
        begun.addErrback(lambda failure: self.log.failure("live work failed", failure=failure))
        return begun.addBoth(done)

    async def _stop(self) -> None:
        await self.sockets.send_away(self._clock)
        self._departures.close()
        while self._works:
            await next(iter(self._works))
        await self.ledger.close()
