"""Whatever happens in whatever order: no event is lost, and two ways are only taken when the acknowledgement came too late."""
from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import TestCase

from interactd.push.records import Pair
from tests.postgres import fresh_database
from tests.push_case import Node, World

LIVES = 250             # seconds of a run, less than those for which a message is worth pushing


class Told:
    """An event, and what the test knows of it."""

    def __init__(self, pair: Pair, listener: Node | None) -> None:
        self.pair = pair
        self.listener = listener        # where the phone had a socket
        self.troubled = False           # whether its push may have been sent by a node that then came to grief, or been lost with its answer


class Machine(RuleBasedStateMachine):
    """Events, acknowledgements, time, nodes that die, freeze and wake, and an Apple that does not always answer."""

    case: Any
    dsn: str

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.case, self.dsn)
        self.world.database.run("DELETE FROM deliveries; DELETE FROM nodes")
        self.phone = self.world.device()
        self.told: list[Told] = []
        for _ in range(2):
            self.world.node().others = True

    def awake(self) -> list[Node]:
        """The nodes that do anything."""
        return [node for node in self.world.nodes if not node.frozen]

    def trouble(self) -> None:
        """From now on nothing can be said of how often what is open was sent."""
        for told in self.told:
            told.troubled = True

    @precondition(lambda self: self.awake())
    @rule(which=st.integers(0, 9), socket=st.sampled_from((0, 1, None)))
    def event(self, which: int, socket: int | None) -> None:
        """Something is stored, and told by one node; the phone has a socket there, or at the other one, or none."""
        node = self.awake()[which % len(self.awake())]
        listener = None if socket is None else self.world.nodes[socket]
        self.world.open(self.phone, listener)
        self.told.append(Told((self.world.event(node, self.phone, kind="sms-incoming"), self.phone), listener))

    def heard(self) -> list[tuple[Node, Pair]]:
        """What the phone has on a socket that is still open, and where."""
        return [(told.listener, told.pair) for told in self.told
                if told.listener in self.awake() and told.listener is not None and self.phone in told.listener.listening]

    @precondition(lambda self: self.heard())
    @rule(which=st.integers(0, 99))
    def ack(self, which: int) -> None:
        """The phone's socket acknowledges."""
        node, pair = self.heard()[which % len(self.heard())]
        node.acknowledge(pair)
        node.beat()

    @precondition(lambda self: self.world.now < LIVES - 110)
    @rule(seconds=st.sampled_from((0.05, 0.2, 1.0, 1.95, 2.0, 3.5, 31.0)))
    def due(self, seconds: float) -> None:
        """Time passes."""
        self.world.advance(seconds)

    @rule(which=st.integers(0, 9))
    def crash(self, which: int) -> None:
        """A node is killed, another one takes its place."""
        self.world.crash(self.world.nodes[which % len(self.world.nodes)])
        self.world.node().others = True
        self.trouble()

    @precondition(lambda self: len(self.awake()) > 1)
    @rule(which=st.integers(0, 9))
    def freeze(self, which: int) -> None:
        """A node does nothing for a while, and does not know it."""
        self.awake()[which % len(self.awake())].frozen = True
        self.trouble()

    @rule()
    def wake(self) -> None:
        """All nodes go on."""
        for node in self.world.nodes:
            node.frozen = False
            node.beat()

    @rule(answer=st.sampled_from(((200,), (), ("reset", 7), ("reset", 2))))
    def send(self, answer: tuple[Any, ...]) -> None:
        """Apple answers otherwise: well, not at all, that it has not looked, that it has failed."""
        self.world.judge = lambda asked: answer
        if answer in ((), ("reset", 2)):
            self.trouble()

    @rule(refusing=st.booleans())
    def reach(self, refusing: bool) -> None:
        """Apple can not be reached, or can be again."""
        for node in self.world.nodes:
            node.apple.refusing = refusing

    @precondition(lambda self: self.awake())
    @rule()
    def cut(self) -> None:
        """The connections to Apple are lost."""
        for node in self.awake():
            node.apple.cut()
        self.trouble()

    def teardown(self) -> None:
        """All is well again, and stays so; then every event has arrived, and nothing is open."""
        self.wake()
        self.reach(False)
        self.world.judge = lambda asked: (200,)
        self.world.advance(75)
        marked = {pair: at for node in self.world.ever for pair, at in node.marked.items()}
        for told in self.told:
            row, pushes = self.world.row(told.pair), self.world.pushes(told.pair[0])
            unknown = (row["push_failed"] or "").startswith("unknown")
            self.case.assertTrue(row["acked_at"] or row["accepted_at"] or unknown, "nobody was told")
            self.case.assertFalse(unknown and not told.troubled)
            self.case.assertEqual((row["due_at"], row["lease_node"]), (None, None))
            if row["acked_at"] and pushes:
                self.case.assertGreaterEqual(marked[told.pair], pushes[0][0], "it was acknowledged before it was pushed")
            if not told.troubled:
                self.case.assertLessEqual(len({name for _, name in pushes}), 1, "two nodes have sent it")
        ids = {(asked.headers["apns-collapse-id"], asked.headers["apns-id"]) for _, _, asked in self.world.asked}
        self.case.assertEqual(len(ids), len({collapse for collapse, _ in ids}), "one event, two names")


class Always(TestCase):
    """The machine, some dozens of times."""

    def test_never_zero(self) -> None:
        """Never zero; both only if the acknowledgement was written after the push was handed to Apple."""
        case, dsn = self, fresh_database(self)

        class Here(Machine):
            pass
        Here.case, Here.dsn = case, dsn
        run_state_machine_as_test(Here, settings=settings(max_examples=40, stateful_step_count=25, deadline=None, derandomize=True,
                                                          suppress_health_check=list(HealthCheck), database=None))
