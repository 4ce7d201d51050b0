"""interactd.1 at random: hints out of order or lost, reads that take their time, cuts and resumes; each event once and in order."""
from __future__ import annotations

import itertools
from typing import Any

import orjson
from attrs import evolve
from hypothesis import Phase, Verbosity, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import booleans, integers
from twisted.trial.unittest import SynchronousTestCase

from interactd.changes import Notice
from interactd.live.numbered import Numbered
from interactd.live.replay import NOTIFICATION, Missed
from interactd.live.session import Desk, Entry

EPOCH = "e"


class _Ledger:
    def sent(self, interaction_id: int, entry: Entry) -> None:
        """It is not looked at here."""

    acknowledged = shown = sent


class Ordered(RuleBasedStateMachine):
    """A session, what is stored, and a client that follows docs/live-protocol.md; what lies between them is lost with a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, int, bool]] = []     # number, the one before it, whether this device must hear of it
        self.hints: list[Notice] = []
        self.wanted = False
        self.reading: tuple[Numbered, int, int, list[Missed]] | None = None
        self.place, self.taken, self.asked = 0, list[int](), False
        self.ended: list[Any] = []
        self.numbers = itertools.count(1)
        self.connect()

    # What a session sees of the rest.

    stalled = False

    def end(self, code: int, reason: str) -> None:
        """No client that follows the rules is ever closed."""
        self.ended.append((code, reason))

    def write(self, data: bytes, delivery: Any = None) -> None:
        """A frame on its way."""
        self.wire.append(orjson.loads(data[data.index(b"{"):]))
        if delivery is not None:
            self.session.handed(delivery)

    def want(self, session: Numbered) -> None:
        """The session wants to be told what it has missed."""
        self.wanted = self.wanted or session is self.session

    def connect(self) -> None:
        """A new connection; the client says where it was."""
        self.wire: list[Any] = []
        desk: Any = Desk(_Ledger(), self, lambda *_: None, lambda: 0.0, 25)     # type: ignore[arg-type]
        self.session = Numbered(self, Entry(1, 1, 1, 1, None, False, self.head, EPOCH), desk)       # type: ignore[arg-type]
        self.wanted, self.asked = False, True
        self.session.opened()
        self.session.received(orjson.dumps({"resume": self.place, "epoch": EPOCH}))

    @property
    def head(self) -> int:
        """The user's number."""
        return self.rows[-1][0] if self.rows else 0

    @rule(mine=booleans(), told=booleans(), skipped=integers(0, 2))
    def store(self, mine: bool, told: bool, skipped: int) -> None:
        """An event is committed; its hint comes later, or never."""
        number = [next(self.numbers) for _ in range(skipped + 1)][-1]
        self.rows.append((number, self.head, mine))
        if told:
            frame = orjson.dumps({"type": "call-incoming", "interactionId": number, "seq": number}).decode()
            self.hints.append(Notice(1, number, number, self.rows[-1][1], (1,) if mine else (2,), frame, "call-incoming"))

    @precondition(lambda self: self.hints)
    @rule(which=integers(0))
    def hint(self, which: int) -> None:
        """Any of the hints arrives."""
        notice = self.hints.pop(which % len(self.hints))
        self.session.follow(notice, 1 in notice.device_ids, {})

    @precondition(lambda self: self.wanted and self.reading is None)
    @rule()
    def read(self) -> None:
        """The rows are read as they are now."""
        self.wanted, seen = False, self.session.seen
        missed = [Missed(number, NOTIFICATION, number, orjson.dumps({"type": "x", "interactionId": number, "seq": number}).decode())
                  for number, _, mine in self.rows if mine and number > seen]
        self.reading = self.session, seen, self.head, missed

    @precondition(lambda self: self.reading is not None)
    @rule(part=integers(1, 4))
    def tell(self, part: int) -> None:
        """What was read comes, a part of it if it is much."""
        assert self.reading is not None
        (session, seen, head, missed), self.reading = self.reading, None
        if session is self.session and session.seen == seen:
            more = len(missed) > part
            session.replay(missed[:part], missed[part - 1].number if more else max(head, seen), more)
        self.wanted = self.wanted or self.session.behind

    @rule()
    def sweep(self) -> None:
        """The numbers are compared."""
        if self.session.behind:
            self.wanted = True
        elif self.head > self.session.seen:
            self.session.catch_up()

    @precondition(lambda self: self.wire)
    @rule(count=integers(1, 5))
    def arrive(self, count: int) -> None:
        """Messages reach the client."""
        for _ in range(min(count, len(self.wire))):
            message = self.wire.pop(0)
            self.asked = self.asked and "resumed" not in message
            if message["prev"] == self.place:
                self.place = message["seq"]
                self.taken += [message["interactionId"]] if "type" in message else []
            elif not self.asked:
                self.asked = True
                self.session.received(orjson.dumps({"resume": self.place, "epoch": EPOCH}))

    @precondition(lambda self: not self.asked)
    @rule()
    def acknowledge(self) -> None:
        """The client says what it has."""
        self.session.received(orjson.dumps({"ack": self.place}))

    @rule()
    def cut(self) -> None:
        """The connection is lost with all that is on its way."""
        self.connect()

    @invariant()
    def in_order(self) -> None:
        """What the client took is the beginning of what it should take, and nothing else."""
        due = [number for number, _, mine in self.rows if mine]
        assert self.taken == due[:len(self.taken)], (self.taken, due)
        assert not self.ended, self.ended

    def teardown(self) -> None:
        """When all is quiet nothing is missing."""
        for _ in range(3 * len(self.rows) + 3):
            self.sweep()
            if self.reading is None and self.wanted:
                self.read()
            if self.reading is not None:
                self.tell(4)
            while self.wire:
                self.arrive(5)
        self.in_order()
        assert len(self.taken) == sum(mine for _, _, mine in self.rows)


class Random(SynchronousTestCase):
    """Many stories."""

    def test_order(self) -> None:
        """Whatever happens in whatever order."""
        run_state_machine_as_test(Ordered, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))

    def test_it_can_fail(self) -> None:
        """A session that trusts every hint is found out."""
        class Careless(Ordered):
            def connect(self) -> None:
                super().connect()
                follow = self.session.follow

                def trusting(notice: Notice, mine: bool, frames: Any) -> None:
                    follow(evolve(notice, prev=0), mine, frames)
                self.trusting = trusting

            @precondition(lambda self: self.hints)
            @rule(which=integers(0))
            def hint(self, which: int) -> None:
                """Any of the hints arrives."""
                notice = self.hints.pop(which % len(self.hints))
                self.trusting(notice, 1 in notice.device_ids, {})
        with self.assertRaises(AssertionError):
            run_state_machine_as_test(Careless, settings=settings(max_examples=300, stateful_step_count=40, deadline=None, database=None,
                                                                  report_multiple_bugs=False, phases=[Phase.generate], verbosity=Verbosity.quiet))
