"""The clients in Python and JavaScript, on connections that are cut, frozen, delayed and half-closed."""
from __future__ import annotations

import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs
import orjson
from twisted.internet import error, reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.utils import getProcessOutput
from twisted.trial.unittest import SkipTest

import interactd.web
from interactd.auth.passwords import hash_password
from interactd.changes import Ended as SessionEnded
from interactd.client.conversation import Place
from interactd.client.follow import Account, Client, Ended
from interactd.refusals import Refusal
from interactd.watch import watch
from tests import chaos
from tests.chaos import Chaos, Fault
from tests.live_case import LiveCase

STORM = 24              # connections to which something happens
SIZES = (0, 1, 150, 400, 700, 900, 1200, 2000)       # bytes after which it happens; a handshake has about 200


class Follows(LiveCase):
    """What every client must do; the Python one."""

    timeout = 60

    async def setUp(self) -> None:
        await super().setUp()
        self.taken: list[tuple[Any, Any]] = []
        self.resynced: list[Any] = []
        self.moved: Deferred[None] = Deferred()
        self.end: list[int] = []
        self.client: Any = None

    async def begin(self, url: str, place: Place | None = None) -> None:
        """The client runs."""
        self.client = Client(reactor, Account(url, self.me.token, "phone"), self.take, place, resync=self.resync, pace=0.02, silence=0.5)
        self.running: Deferred[None] = Deferred.fromCoroutine(self.client.run())
        self.running.addErrback(self.over)

        async def stop() -> None:
            self.client.stop()
            await self.running
        self.addCleanup(stop)

    def over(self, failure: Any) -> None:
        """The client's end."""
        failure.trap(Ended)
        self.end.append(failure.value.code)

    async def take(self, message: Any, place: Place) -> None:
        """A message is taken."""
        self.taken.append((message, attrs.asdict(place)))
        self.move()

    async def resync(self, place: Place) -> None:
        """Something can not be had."""
        self.resynced.append(attrs.asdict(place))
        self.move()

    def word(self, **word: int) -> None:
        """The client says this."""
        self.client.say(**word)

    def move(self) -> None:
        """Something has happened."""
        moved, self.moved = self.moved, Deferred()
        moved.callback(None)

    async def until(self, done: Any) -> None:
        """Waits for something to be so, while the live side's clock goes on and its sweeps run."""
        while not done():
            pause = deferLater(reactor, 0.02)   # type: ignore[arg-type]
            pause.addErrback(lambda _: None)
            await DeferredList([self.moved, pause], fireOnOneCallback=True)
            pause.cancel()
            self.clock.advance(0.1)

    def events(self) -> list[int]:
        """The interactions that were taken."""
        return [message["interactionId"] for message, _ in self.taken if "type" in message]

    async def test_cut_everywhere(self) -> None:
        """Connections are lost at every step, in every way: each event comes once and in order."""
        kinds = (chaos.CUT, chaos.HALF, chaos.DELAY, chaos.CRUMBS, chaos.FREEZE)
        proxy = Chaos(lambda: self.port, lambda n: None if n >= STORM else Fault(kinds[n % 5], SIZES[n % len(SIZES)], n % 4 != 3, 3500))
        proxy.open(self)
        await self.begin(f"ws://127.0.0.1:{proxy.port}", Place(0, self.epoch()))
        told = []
        while proxy.count <= STORM:
            for lost in (False, True, False):
                told.append((self.event if lost else self.tell)(self.me, self.phone).interaction_id)
            await self.until(lambda: len(told) - len(self.events()) < 30)
            await deferLater(reactor, 0.005)    # type: ignore[arg-type]
        await self.until(lambda: len(self.events()) >= len(told))
        self.assertEqual(self.events(), told)
        places = [place["seq"] for _, place in self.taken]
        self.assertEqual(places, sorted(places))
        self.assertEqual(set(proxy.struck), set(kinds))

    async def test_a_handshake_without_an_answer(self) -> None:
        """The client hangs up before it tries anew: a server that answers late would take the older connection for the newer one."""
        hung_up: Deferred[Any] = Deferred()

        class Mute(Protocol):
            def connectionLost(self, reason: Any = connectionDone) -> None:
                if not hung_up.called:
                    hung_up.callback(None)
        port = reactor.listenTCP(0, Factory.forProtocol(Mute), interface="127.0.0.1")      # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        await self.begin(f"ws://127.0.0.1:{port.getHost().port}")
        await hung_up

    async def test_acknowledged(self) -> None:
        """What was taken is acknowledged, soon and not message by message; shown and dismiss are said."""
        await self.begin(f"ws://127.0.0.1:{self.port}")
        await self.until(lambda: self.live.registry.of(self.me.id))
        notices = [self.tell(self.me, self.phone) for _ in range(30)]
        await self.until(lambda: len(self.taken) == 30)
        self.word(shown=notices[0].interaction_id)
        self.word(dismiss=notices[1].interaction_id)
        await self.until(lambda: self.sql("SELECT count(acked_at), count(shown_at), count(dismissed_at) FROM deliveries") == [(30, 1, 1)])

    async def test_resync(self) -> None:
        """A client of another epoch synchronizes, and goes on behind that."""
        await self.begin(f"ws://127.0.0.1:{self.port}")
        await self.until(lambda: self.live.registry.of(self.me.id))
        self.tell(self.me, self.phone)
        await self.until(lambda: len(self.taken) == 1)
        self.sql("UPDATE counters SET epoch = 'another'")
        for socket in self.live.sockets:
            socket.transport.abortConnection()
        await self.until(lambda: self.resynced)
        self.assertEqual(self.resynced, [{"seq": 1, "epoch": "another"}])
        second = self.tell(self.me, self.phone)
        await self.until(lambda: len(self.taken) == 2)
        self.assertEqual(self.taken[1][1], {"seq": second.seq, "epoch": "another"})

    async def test_for_good(self) -> None:
        """A client whose session ends does not come again."""
        await self.begin(f"ws://127.0.0.1:{self.port}")
        await self.until(lambda: self.live.registry.of(self.me.id))
        await self.post("/v2/logout", None, {"authToken": self.me.token})
        await self.until(lambda: self.end)
        self.assertEqual((self.end, len(self.live.sockets)), ([4401], 0))


class Node(ProcessProtocol):
    """The JavaScript client in its process."""

    def __init__(self, case: FollowsInJavaScript) -> None:
        self.case = case
        self.rest = b""
        self.errors = b""
        self.gone: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            said = orjson.loads(line)
            if "message" in said:
                self.case.taken.append((said["message"], said["place"]))
            elif "resync" in said:
                self.case.resynced.append(said["resync"])
            else:
                self.case.end.append(said["ended"])
        self.case.move()

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Any) -> None:
        self.gone.callback(None)


class FollowsInJavaScript(Follows):
    """The same, for the client in JavaScript."""

    async def begin(self, url: str, place: Place | None = None) -> None:
        """The client runs in Node."""
        node = shutil.which("node")
        if node is None or not re.match(rb"v(2\d|[3-9]\d)\.", await getProcessOutput(node, ["--version"])):
            raise SkipTest("there is no Node.js 20 or later, which runs the client in JavaScript")
        file = Path(interactd.web.__file__).parent / "interactd.js"
        self.node = Node(self)
        process = reactor.spawnProcess(     # type: ignore[attr-defined]
            self.node, node, [node, "--experimental-websocket", str(Path(__file__).parent / "follow.js"), str(file), url, self.me.token, "phone",
                              *([] if place is None else [str(place.seq), place.epoch])], env=None)

        async def stop() -> None:
            try:
                process.closeStdin()
            except error.ProcessExitedAlready:
                pass
            await self.node.gone
            self.assertNotIn(b"Error", self.node.errors)
        self.addCleanup(stop)

    def word(self, **word: int) -> None:
        """The client says this."""
        self.node.transport.write(orjson.dumps(word) + b"\n")       # type: ignore[union-attr]


class Waits(LiveCase):
    """How long a client waits."""

    async def test_full_jitter(self) -> None:
        """From nothing to twice as long each time, a minute at most; not at all times the same."""
        clock, waits = Clock(), list[float]()
        client = Client(clock, Account("ws://127.0.0.1:1", "", ""), self.nothing)
        client._reactor = clock
        for attempt in range(10):
            client._attempt = attempt
            for _ in range(5):
                Deferred.fromCoroutine(client._wait(None))
                (call,) = clock.getDelayedCalls()
                waits.append(call.getTime() - clock.seconds())
                self.assertLessEqual(waits[-1], min(60, 2 ** attempt))
                clock.advance(60)
        self.assertEqual(len(set(waits)), 50)
        Deferred.fromCoroutine(client._wait(7.5))
        self.assertEqual([call.getTime() - clock.seconds() for call in clock.getDelayedCalls()], [7.5])

    async def nothing(self, message: Any, place: Place) -> None:
        """Takes nothing."""


class Watches(LiveCase):
    """`interactctl watch`."""

    async def test_lines(self) -> None:
        """It logs in, registers the device, and prints what that is told until the session ends."""
        self.sql("UPDATE users SET password_hash = %s WHERE id = %s", hash_password(self.config.auth, "secret"), self.me.id)
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        watching = Deferred.fromCoroutine(watch(reactor, f"http://127.0.0.1:{self.port}/", self.me.email, "secret", "desk"))
        while not (sessions := self.live.registry.of(self.me.id)):
            await deferLater(reactor, 0.01)     # type: ignore[arg-type]
        (device,) = sessions
        self.clock.advance(1)
        notice = self.tell(self.me, device)
        while not out.getvalue():
            await deferLater(reactor, 0.01)     # type: ignore[arg-type]
        self.assertEqual(orjson.loads(out.getvalue())["interactionId"], notice.interaction_id)
        self.parts.app.hub.publish(SessionEnded(self.me.id))
        with self.assertRaises(Refusal):
            await watching
        await deferLater(reactor, 0.01)         # type: ignore[arg-type]
