"""Events while others hold locks, connections die and answers get lost; nothing here depends on how long something takes."""
from __future__ import annotations

from typing import Any

import orjson
import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from interactd.config import Numbers
from interactd.errors import Internal, Unavailable
from interactd.events import lanes
from interactd.events.carriage import Carriage, Then, Undone
from interactd.events.event import Event, Outcome
from interactd.events.hints import Hint
from interactd.events.intake import Intake
from interactd.events.parcel import addressed, sealed
from interactd.events.wire import Rows, Wire
from tests.cutting import Cut, Proxy
from tests.intake_case import IntakeCase, Owner

KNOCKS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE '%intake_batch%'"""
BACKENDS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND query NOT LIKE '%rival%'"""
INVERSIONS = "SELECT count(*) FROM interactions a JOIN interactions b USING (user_id) WHERE a.id < b.id AND a.created_seq >= b.created_seq"
FAILING = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.data = 'bad' AND nextval('failures') <= TG_ARGV[1]::int THEN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0]; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER failing BEFORE INSERT ON interactions FOR EACH ROW EXECUTE FUNCTION fail('%s', %s)"""


class Hurried:
    """The reactor with a clock that runs a hundred times as fast."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def seconds(self) -> float:
        """A hundred seconds for one."""
        return float(100 * reactor.seconds())

    def callLater(self, delay: float, *call: Any) -> Any:
        """In a hundredth of the time."""
        return reactor.callLater(delay / 100, *call)


class FaultCase(IntakeCase):
    """Two users whom the intake knows already."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ann, self.bob = self.owner("ann"), self.owner("bob")
        for owner in (self.ann, self.bob):
            await self.put(owner, None)
        self.heard.notices.clear()

    def start(self, owner: Owner, data: str | None = "+49 2332 667998", **values: Any) -> Deferred[Outcome]:
        """The outcome to come."""
        return Deferred.fromCoroutine(self.put(owner, data, **values))

    def rival(self, owner: Owner | None, sql: str = "SELECT", *values: Any) -> Any:
        """A transaction that is left open: a user's counter is taken, then something done."""
        connection = self.connection(autocommit=False)
        with connection.cursor() as cursor:
            if owner is not None:
                cursor.execute("SELECT take(ARRAY[%s]) AS rival", (owner.id,))
            cursor.execute("/* rival */ " + sql, values or None)
        return connection

    async def until(self, sql: str, value: Any) -> None:
        """A statement answers this value."""
        while self.one(sql) != value:
            await deferLater(reactor, 0)

    def new(self) -> list[tuple[Any, ...]]:
        """Owner and person of the interactions that are not from the beginning."""
        return self.rows("SELECT user_id, person_id FROM interactions WHERE id > 2 ORDER BY id")


class LockTests(FaultCase):
    """One busy user never stalls the others (contract 6; the issue's section 5)."""

    async def test_others_are_answered_while_one_waits(self) -> None:
        rival = self.rival(self.ann)
        anns, bobs = self.start(self.ann), self.start(self.bob)
        self.assertEqual((await bobs).status, 201)
        self.assertFalse(anns.called)
        await self.until(KNOCKS, 1)
        rival.commit()
        self.assertEqual((await anns).status, 201)
        self.assertEqual([user for user, _ in self.new()], [self.bob.id, self.ann.id])

    async def test_a_frozen_node_lets_go(self) -> None:
        """Who holds a counter and says nothing more is cut off by the database; what it had done is undone, and others go on."""
        self.patch(lanes, "PREPARE", lanes.PREPARE.replace("'5s'", "'50ms'"))
        frozen = lanes.Lanes(reactor, self.dsn, 1, ("", ""), lambda: None)
        await frozen.open()
        self.addCleanup(frozen.close)
        await frozen.idle[0].run("BEGIN; SELECT take(ARRAY[%s]::bigint[])", (self.ann.id,))
        self.assertEqual((await self.start(self.ann)).status, 201)

    async def test_frozen_before_the_commit(self) -> None:
        """When it wakes up, the node finds its transaction undone, and does it again: one row, one notice."""
        self.patch(lanes, "PREPARE", lanes.PREPARE.replace("'5s'", "'50ms'"))
        self.intake = self.made()
        await self.intake.open()
        await self.put(self.ann, None)
        self.rows("DELETE FROM interactions WHERE id > 2")
        self.heard.notices.clear()
        run, frozen = Wire.run, list[str]()

        async def freezing(wire: Wire, sql: str, parameters: Any = None) -> Rows:
            if sql == "COMMIT" and not frozen:
                frozen.append(sql)
                while self.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"):
                    pass
            return await run(wire, sql, parameters)
        self.patch(Wire, "run", freezing)
        self.assertEqual((await self.start(self.ann)).status, 201)
        self.assertEqual((frozen, len(self.new()), len(self.heard.notices)), (["COMMIT"], 1, 1))

    async def test_at_most_half_of_the_connections_wait(self) -> None:
        others = [self.owner(f"u{number}") for number in range(5)]
        for owner in others:
            await self.put(owner, None)
        rivals = [self.rival(owner) for owner in others]
        waiting = [self.start(owner) for owner in others]
        await self.until(KNOCKS, 2)
        for number in range(3):
            self.assertEqual((await self.start(self.bob)).status, 201)
            self.assertEqual(self.one(KNOCKS), 2)
        for rival in rivals:
            rival.rollback()
        self.assertEqual([outcome.status for outcome in await gatherResults(waiting)], [201] * 5)

    async def test_the_events_of_a_busy_user_keep_their_order(self) -> None:
        rival = self.rival(self.ann)
        first = [self.start(self.ann, f"+49 2332 {1000 + number}") for number in range(5)]
        await self.until(KNOCKS, 1)
        first += [self.start(self.ann, f"+49 2332 {1005 + number}") for number in range(5)]
        rival.rollback()
        await gatherResults(first)
        data = self.rows("SELECT right(data, 4)::int FROM interactions WHERE id > 2 ORDER BY created_seq")
        self.assertEqual(data, [(1000 + number,) for number in range(10)])

    async def test_a_rival_commits_the_same_key(self) -> None:
        event = self.event(self.ann, key="k")
        rival = self.rival(None, *self.sent(event, self.ann))
        answer = Deferred.fromCoroutine(self.intake.put(event))
        await self.until(KNOCKS, 1)
        rival.commit()
        outcome = await answer
        self.assertEqual((outcome.status, len(self.new()), self.heard.notices), (201, 1, []))
        self.assertEqual(self.entity(outcome), orjson.loads(self.one("SELECT interaction_json(i)::text FROM interactions i WHERE id > 2")))

    async def test_a_rival_with_the_same_key_rolls_back(self) -> None:
        event = self.event(self.ann, key="k")
        rival = self.rival(None, *self.sent(event, self.ann))
        answer = Deferred.fromCoroutine(self.intake.put(event))
        await self.until(KNOCKS, 1)
        rival.rollback()
        self.assertEqual(((await answer).status, len(self.new()), len(self.heard.notices)), (201, 1, 1))

    def sent(self, event: Event, owner: Owner) -> tuple[str, str, list[int]]:
        """The statement by which another node stores an event."""
        one = addressed(sealed(event), Hint(owner.id, False, None, None), owner.id, Numbers())
        return "SELECT * FROM intake(%s::jsonb, %s::bigint[], true)", orjson.dumps([{**one, "n": 0}]).decode(), [owner.id]

    async def test_a_rival_deletes_the_contact_it_would_match(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 667998")
        rival = self.rival(self.ann, "DELETE FROM contacts WHERE id = %s", bea)
        anns = self.start(self.ann)
        await self.until(KNOCKS, 1)
        rival.commit()
        self.assertEqual((await anns).status, 201)
        self.assertEqual(self.new(), [(self.ann.id, None)])

    async def test_a_contact_is_deleted_by_somebody_who_takes_no_counter(self) -> None:
        """The batch waits for the contact's row, its reference fails, and goes again: alone and among neighbours."""
        for neighbours in ((), (self.bob,)):
            bea = self.contact(self.ann, "Bea", "+49 2332 667998")
            rival = self.rival(None, "DELETE FROM contacts WHERE id = %s", bea)
            answers = [self.start(owner) for owner in (self.ann, *neighbours)]
            await self.until(KNOCKS, 1)
            rival.commit()
            self.assertEqual({outcome.status for outcome in await gatherResults(answers)}, {201})
            self.assertEqual(self.one("SELECT max(person_id) FROM interactions"), None)
        self.assertEqual((len(self.new()), len(self.heard.notices)), (3, 3))

    async def test_a_revoked_token_is_refused_after_the_wait(self) -> None:
        rival = self.rival(self.ann, "UPDATE trigger_devices SET active = false WHERE id = %s", self.ann.device)
        anns = self.start(self.ann)
        await self.until(KNOCKS, 1)
        rival.commit()
        self.assertEqual((await anns).status, 401)


class ErrorTests(FaultCase):
    """What the database refuses, for a lone event and in a batch with a neighbour."""

    async def outcomes(self, state: str, times: int, neighbour: bool) -> list[Outcome]:
        """What becomes of an event whose insert fails so often, and of its neighbour's."""
        self.rows(FAILING % (state, times))
        answers = [self.start(self.ann, "bad")] + ([self.start(self.bob)] if neighbour else [])
        return await gatherResults(answers)

    async def stored_once(self, state: str, neighbour: bool) -> None:
        """The failure is over at the next try: everything is stored and told once."""
        outcomes = await self.outcomes(state, 1, neighbour)
        self.assertEqual([outcome.status for outcome in outcomes], [201] * (1 + neighbour))
        self.assertEqual((len(self.new()), len(self.heard.notices)), (1 + neighbour, 1 + neighbour))

    async def test_deadlock(self) -> None:
        await self.stored_once("40P01", False)

    async def test_deadlock_in_a_batch(self) -> None:
        await self.stored_once("40P01", True)

    async def test_serialisation_failure_in_a_batch(self) -> None:
        await self.stored_once("40001", True)

    async def test_an_equal_row(self) -> None:
        await self.stored_once("23505", False)

    async def test_an_equal_row_in_a_batch(self) -> None:
        await self.stored_once("23505", True)

    async def test_a_missing_reference_in_a_batch(self) -> None:
        await self.stored_once("23503", True)

    async def test_a_bad_value_fails_alone(self) -> None:
        bad, good = await self.outcomes("22003", 100, True)
        self.assertIsInstance(bad.error, Internal)
        self.assertEqual((good.status, len(self.new()), len(self.heard.notices)), (201, 1, 1))

    async def test_what_always_collides_is_given_up(self) -> None:
        bad, good = await self.outcomes("23505", 100, True)
        self.assertIsInstance(bad.error, Unavailable)
        self.assertEqual((good.status, len(self.new())), (201, 1))

    async def test_a_full_disk_fails_its_batch_and_nothing_else(self) -> None:
        outcomes = await self.outcomes("53100", 1, True)
        for outcome in outcomes:
            self.assertIsInstance(outcome.error, Unavailable)
            assert outcome.error is not None
            self.assertEqual((outcome.status, outcome.error.retry_after), (503, 1))
        self.assertEqual(self.new(), [])
        self.assertEqual((await self.start(self.ann, "bad")).status, 201)

    async def test_nothing_is_half_stored(self) -> None:
        """The row is refused after number, key and basicInfo were written: none of them stays."""
        await self.outcomes("22003", 100, False)
        tables = ("basic_infos", "event_keys", "activities WHERE entity_id > 2", "deliveries WHERE interaction_id > 2")
        self.assertEqual([self.one(f"SELECT count(*) FROM {table}") for table in tables], [0] * 4)
        self.assertEqual(self.one("SELECT seq FROM counters WHERE user_id = %s", self.ann.id), 1)


class Crashed:
    """A connection that answers a batch, and is lost with the server at the COMMIT."""

    closed = False

    def __init__(self, *row: Any) -> None:
        self.row = row

    async def run(self, sql: str, parameters: Any = None) -> Rows:
        """The row."""
        if sql == "COMMIT":
            self.closed = True
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return [self.row]


class ReusedTests(IntakeCase):
    """A server that crashed gives the number of a transaction that it lost to another one, which commits."""

    async def test_whose_it_was(self) -> None:
        """What is stored is ours only if it is what we sent."""
        ann = self.owner("ann")
        await self.put(ann)
        ident, frame = self.rows("SELECT id, notice FROM interactions")[0]
        number = self.one("SELECT pg_current_xact_id()::text")
        self.assertEqual(self.one("SELECT pg_xact_status(%s::xid8)", number), "committed")
        carriage = Carriage(reactor, self.dsn)
        for outcome, there, said, kept in (("stored", ident, frame, True), ("stored", ident, "{}", False), ("stored", ident + 1, frame, False),
                                           ("known", ident, None, True)):
            answer = (0, outcome, ann.id, there, 1, 0, False, "{}", said, [1], ann.id, None, None, None)
            carried = Deferred.fromCoroutine(carriage.carry(Crashed(number, *answer), "[]", [], False))     # type: ignore[arg-type]
            if kept:
                self.assertEqual(await carried, [answer])
            else:
                self.assertIs((await self.assertFailure(carried, Undone)).then, Then.AGAIN)


class LostTests(FaultCase):
    """Connections that die."""

    async def setUp(self) -> None:
        await super().setUp()
        self.proxy = Proxy(self, self.dsn)
        await self.proxy.open(self)

    async def through(self, clock: Any = reactor) -> Intake:
        """An intake behind the proxy, which knows the users."""
        self.intake = self.made(self.proxy.dsn, clock=clock)
        await self.intake.open()
        for owner in (self.ann, self.bob):
            await self.put(owner, "+49 2332 1", key="warm")
        self.rows("DELETE FROM interactions WHERE id > 2")
        self.heard.notices.clear()
        return self.intake

    async def test_killed_while_idle(self) -> None:
        self.rows(BACKENDS)
        outcomes = await gatherResults([self.start(owner) for owner in (self.ann, self.bob)])
        self.assertEqual(([outcome.status for outcome in outcomes], len(self.new())), ([201, 201], 2))

    async def test_killed_while_it_waits(self) -> None:
        rival = self.rival(self.ann)
        anns, bobs = self.start(self.ann), self.start(self.bob)
        await bobs
        await self.until(KNOCKS, 1)
        self.rows(BACKENDS)
        rival.commit()
        self.assertEqual(((await anns).status, len(self.new()), len(self.heard.notices)), (201, 2, 2))

    async def test_the_answer_to_a_commit_is_lost(self) -> None:
        """It was committed, so it is 201: one row, one frame each."""
        await self.through()
        self.proxy.cut = Cut.ANSWER
        outcomes = await gatherResults([self.start(owner) for owner in (self.ann, self.bob)])
        self.assertEqual(([outcome.status for outcome in outcomes], self.proxy.cuts), ([201, 201], 1))
        self.assertEqual((len(self.new()), len(self.heard.notices)), (2, 2))

    async def test_the_commit_itself_is_lost(self) -> None:
        """Nothing was committed, so it goes again: one row, one frame each."""
        await self.through()
        self.proxy.cut = Cut.COMMIT
        outcomes = await gatherResults([self.start(owner) for owner in (self.ann, self.bob)])
        self.assertEqual(([outcome.status for outcome in outcomes], self.proxy.cuts), ([201, 201], 1))
        self.assertEqual((len(self.new()), len(self.heard.notices)), (2, 2))

    async def test_what_can_not_be_found_out_is_503(self) -> None:
        await self.through(Hurried())
        self.proxy.cut, self.proxy.for_good = Cut.ANSWER, True
        outcome = await self.start(self.ann)
        self.assertEqual((outcome.status, self.heard.notices), (503, []))

    async def test_without_a_database_events_wait_a_little_and_then_fail(self) -> None:
        await self.through(Hurried())
        self.proxy.closed = True
        self.proxy.hang_up()
        waiting = await self.start(self.ann)
        assert isinstance(waiting.error, Unavailable)
        self.assertEqual((waiting.status, waiting.error.retry_after), (503, 1))
        self.assertEqual((await self.start(self.ann)).status, 503)
        self.proxy.closed = False
        outcome = await self.start(self.ann)
        while outcome.status == 503:
            await deferLater(reactor, 0)
            outcome = await self.start(self.ann)
        self.assertEqual((outcome.status, len(self.new())), (201, 1))

    async def test_what_is_under_way_at_the_end_is_answered(self) -> None:
        rival = self.rival(self.ann)
        anns = self.start(self.ann)
        await self.until(KNOCKS, 1)
        stopped = Deferred.fromCoroutine(self.intake.stopService())
        rival.commit()
        self.assertEqual((await anns).status, 201)
        await stopped


class WriterTests(IntakeCase):
    """Several nodes, the same users, the same keys, and contacts that go while they call."""

    async def test_no_key_twice_and_numbers_in_order(self) -> None:
        owners = [self.owner(f"u{number}", devices=("desk", "pad")) for number in range(5)]
        nodes = [self.intake, self.made(batch=7), self.made(batch=3)]
        for node in nodes[1:]:
            await node.open()
        contacts = [(owner, self.contact(owner, f"C{number}", f"+49 2332 {1000 + number}")) for number in range(40) for owner in owners]
        deleting = Deferred.fromCoroutine(self.delete(contacts[::2]))
        answers = [Deferred.fromCoroutine(nodes[(number + copy) % 3].put(self.event(owner, f"+49 2332 {1000 + number}", key=f"k{number}")))
                   for number in range(40) for copy in range(3) for owner in owners]
        outcomes = await gatherResults(answers)
        gone = await deleting
        self.assertEqual({outcome.status for outcome in outcomes}, {201})
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT (user_id, data)) FROM interactions"), [(200, 200)])
        self.assertEqual(self.one("SELECT count(*) FROM deliveries"), 400)
        stored = [row[0] for row in self.rows("SELECT id FROM interactions ORDER BY 1")]
        self.assertEqual(sorted(notice.interaction_id for notice in self.heard.notices), stored)
        self.assertEqual(self.one(INVERSIONS), 0)
        self.assertEqual(self.one("SELECT count(*) FROM interactions i JOIN counters c USING (user_id) WHERE i.created_seq > c.seq"), 0)
        for owner in owners:
            notices = [notice for notice in self.heard.notices if notice.user_id == owner.id]
            numbers = sorted((notice.seq, notice.prev) for notice in notices)
            for (before, _), (_, prev) in zip(numbers, numbers[1:]):
                # the deletion of a contact changes the interactions that were matched to it, which sockets are told too
                self.assertIn(prev, {before} | {seq for user, seq in gone if user == owner.id and seq > before})

    async def delete(self, contacts: list[tuple[Owner, int]]) -> list[tuple[int, int]]:
        """They go, one transaction each: the owners, and the numbers that the deletions took."""
        wire = Wire(reactor)
        await wire.open(self.dsn)
        taken = []
        for owner, contact in contacts:
            await wire.run("BEGIN; SELECT take(ARRAY[%s]::bigint[]); DELETE FROM contacts WHERE id = %s", (owner.id, contact))
            taken.append((owner.id, (await wire.run("SELECT seq FROM counters WHERE user_id = %s", (owner.id,)))[0][0]))
            await wire.run("COMMIT")
        wire.close()
        return taken
