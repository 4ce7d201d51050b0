"""Real sockets on a real daemon, with a clock of the test's own for everything the live side times."""
from __future__ import annotations

from collections import deque
from typing import Any

import orjson
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock

from interactd.changes import Notice
from interactd.live.service import Live
from tests.api_case import ApiCase, Person

# One statement, so that nobody sees a part of it.
_EVENT = """
WITH given (owner, kind, more, age, late, devices) AS (VALUES (%s::bigint, %s, %s::jsonb, %s, %s, %s::bigint[])),
  counted AS (UPDATE counters c SET seq = c.seq + 1, event_prev = c.event_seq, event_seq = c.seq + 1 FROM given g WHERE c.user_id = g.owner
    RETURNING c.seq, c.event_prev AS prev, nextval('interactions_id_seq') AS id),
  framed AS (SELECT c.*, (jsonb_build_object('type', g.kind, 'data', '+4930123', 'interactionId', c.id, 'seq', c.seq) || g.more)::text AS frame
    FROM counted c, given g),
  made AS (INSERT INTO interactions (id, user_id, type, data, time, sort_time, received, late, notice, created_seq, seq) OVERRIDING SYSTEM VALUE
    SELECT f.id, g.owner, g.kind, '+4930123', 1, 1, now_ms() - g.age, g.late, f.frame, f.seq, f.seq FROM framed f, given g),
  delivered AS (INSERT INTO deliveries (interaction_id, device_id, user_id, seq)
    SELECT f.id, d, g.owner, f.seq FROM framed f, given g, unnest(g.devices) d)
SELECT id, seq, prev, frame FROM framed"""


class Client(WebSocketClientProtocol):
    """A client of the socket: what it got waits in `messages`, `closed` fires with the close code."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: deque[Any] = deque()
        self.pings: list[bytes] = []
        self.answers = True                     # whether pings are answered
        self.opened: Deferred[Client] = Deferred()
        self.closed: Deferred[int | None] = Deferred()
        self.code: int | None = None            # of the close frame
        self.reason: str | None = None
        self._wanted: deque[Deferred[Any]] = deque()
        self._pongs: deque[Deferred[None]] = deque()

    def onOpen(self) -> None:
        self.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        message = orjson.loads(payload)
        if self._wanted:
            self._wanted.popleft().callback(message)
        else:
            self.messages.append(message)

    def onPing(self, payload: bytes) -> None:
        self.pings.append(payload)
        if self.answers:
            self.sendPong(payload)

    def onPong(self, payload: bytes) -> None:
        if self._pongs:
            self._pongs.popleft().callback(None)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        self.code, self.reason = code, reasonRaw and reasonRaw.decode()
        return super().onCloseFrame(code, reasonRaw)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self.opened.called:
            self.opened.errback(Refused(str(reason)))
        self.closed.callback(self.code)

    def next(self) -> Deferred[Any]:
        """The next message."""
        wanted: Deferred[Any] = Deferred()
        if self.messages:
            wanted.callback(self.messages.popleft())
        else:
            self._wanted.append(wanted)
        return wanted

    def settled(self) -> Deferred[None]:
        """Fires when everything that the server has sent until now has arrived, and the other way round."""
        done: Deferred[None] = Deferred()
        self._pongs.append(done)
        self.sendPing(b"settled")
        return done

    def say(self, message: Any) -> None:
        """One message, as JSON."""
        self.sendMessage(message if isinstance(message, bytes) else orjson.dumps(message))


class Refused(Exception):
    """The handshake was refused: the text has the status."""


class LiveCase(ApiCase):
    """`self.connect` opens sockets; `self.clock` is the live side's; `self.tell` makes an event by hand."""

    async def setUp(self) -> None:
        await super().setUp()
        await self.parts.app.live.stopService()
        self.clock = Clock()
        self.live = self.alive()
        object.__setattr__(self.parts.app, "live", self.live)       # frozen; another Api for it would cost more than the test
        self.clients: list[Client] = []
        self.addCleanup(self.stop)
        self.me = self.person("me@example.org")
        self.phone = self.device(self.me, "phone")

    def alive(self) -> Live:
        """A live side on the test's clock."""
        app = self.parts.app
        live = Live(app.database, app.hub, app.sessions, self.config.live, self.clock, node=app.live.node)
        live.startService()
        return live

    async def stop(self) -> None:
        """Every socket is gone, at both ends."""
        for client in self.clients:
            if not client.closed.called:
                client.transport.abortConnection()
            await client.closed
        if self.live.running:
            await self.live.stopService()
        await self.parts.app.sessions.settled()

    def device(self, who: Person, name: str, active: bool = True) -> int:
        """A registered device's id."""
        return int(self.sql("INSERT INTO devices (user_id, device_id, canonical, active) VALUES (%s, %s, %s, %s) RETURNING id",
                            who.id, name, name, active)[0][0])

    async def connect(self, query: str = "", path: str = "/interact-server/socket", protocols: tuple[str, ...] = (),
                      **headers: str) -> Client:
        """An open socket, or Refused."""
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{self.port}{path}{query}", protocols=list(protocols), headers=headers)
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        client: Client = await TCP4ClientEndpoint(reactor, "127.0.0.1", self.port).connect(factory)
        self.clients.append(client)
        return await client.opened

    async def listen(self, who: Person | None = None, device: str = "phone") -> Client:
        """The seed's socket."""
        return await self.connect(f"?deviceId={device}&authToken={(who or self.me).token}")

    async def follow(self, device: str = "phone", who: Person | None = None, resume: Any = None, start: bool = True) -> Client:
        """A socket of interactd.1: it goes on where `resume` says, else from its opening on unless `start` says to wait."""
        client = await self.connect(f"?deviceId={device}&authToken={(who or self.me).token}", protocols=("interactd.1",))
        if resume is not None:
            client.say(resume if isinstance(resume, dict) else {"resume": resume, "epoch": self.epoch(who)})
        elif start:
            client.say({"resume": (await client.next())["seq"], "epoch": self.epoch(who)})
            while "resumed" not in await client.next():
                pass
        return client

    def epoch(self, who: Person | None = None) -> str:
        """The epoch of a user's numbers."""
        return str(self.sql("SELECT epoch FROM counters WHERE user_id = %s", (who or self.me).id)[0][0])

    async def told(self, client: Client) -> Any:
        """The next notification, update or retract."""
        while not {"type", "update", "retract"} & set(message := await client.next()):
            self.assertTrue({"message", "opened", "resumed", "ping"} & set(message), message)
        return message

    async def swept(self) -> None:
        """The sweep is due, and done."""
        self.clock.advance(self.config.live.sweep_every)
        await self.idle()

    async def idle(self) -> None:
        """Nothing is under way in the live side."""
        while self.live._works:
            await next(iter(self.live._works))

    async def ended(self, client: Client) -> int | None:
        """The code of the close frame, once the connection is gone."""
        code = await client.closed
        client.closed = Deferred()
        client.closed.callback(code)
        return code

    def event(self, who: Person, *devices: int, kind: str = "call-incoming", late: bool = False, age: int = 0) -> Notice:
        """A stored event, committed and not yet told."""
        more = {"late": True} if late else {}
        ident, seq, prev, frame = self.sql(_EVENT, who.id, kind, orjson.dumps(more).decode(), age, late, list(devices))[0]
        return Notice(who.id, ident, seq, prev, devices, frame, kind, late)

    def tell(self, who: Person, *devices: int, **options: Any) -> Notice:
        """A stored event that the Hub tells of."""
        notice = self.event(who, *devices, **options)
        self.parts.app.hub.publish(notice)
        return notice

    def marks(self, notice: Notice, device: int | None = None) -> tuple[bool, bool]:
        """Whether the delivery is marked as sent, and as acknowledged."""
        return self.sql("SELECT sent_at IS NOT NULL, acked_at IS NOT NULL FROM deliveries WHERE interaction_id = %s AND device_id = %s",
                        notice.interaction_id, device or self.phone)[0]
