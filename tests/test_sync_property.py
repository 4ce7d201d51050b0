"""Whatever two people do at once, a device that syncs again and again ends with exactly what the server has (contract section 9).

Programs of random steps are played against the API: edits of every kind, some of them held right before their commit while others
go on, syncs between and beside them. The answers are read two rows at a time, so commits fall between the slices of an answer.
"""
from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import psycopg2
from attrs import define, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread

from interactd.db import shield
from tests.api_case import Person, Reply
from tests.sync_case import Replica, SyncCase

SECONDS = 12          # no new program is begun later,
LEAST = 6             # unless these have not been played
# Writes of somebody whose gate is shut wait at their commit, with all they have locked.
GATE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7, NEW.actor_id::int); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON activities DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gate()"""

Some = tuple[int, int, int]          # which of what there is; what becomes of it
SOME = st.tuples(*[st.integers(0, 11)] * 3)
WRITES = ("person", "organization", "rename", "relate", "renumber", "forget", "note", "deal", "redeal", "undeal", "task", "retask", "untask", "list",
          "unlist", "merge", "share", "event", "link", "field", "note", "task", "retask", "event")
STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), st.sampled_from(WRITES), SOME),
    st.tuples(st.just("write"), st.integers(0, 1), st.sampled_from(WRITES), SOME),
    st.tuples(st.just("beside"), st.integers(0, 1), st.sampled_from(WRITES), SOME),          # during the next sync
    st.tuples(st.just("shut"), st.integers(0, 1)), st.tuples(st.just("open"), st.integers(0, 1)),
    st.tuples(st.just("sync"), st.integers(0, 3)), st.tuples(st.just("sync"), st.integers(0, 3)))


@define
class Client:
    """Somebody who writes."""

    who: Person
    trigger: str
    gate: Any
    shut: bool = False


@define
class Play:
    """One program under way: two clients, their devices, what has not been answered yet."""

    clients: list[Client]
    devices: list[Replica]
    group: int
    boss: Person
    custom: int
    pending: list[Deferred[None]] = field(factory=list)
    beside: list[Callable[[], None]] = field(factory=list)


class Converging(SyncCase):
    """Random programs."""

    timeout = 300
    settings = {"INTERACTD_LIMITS_PAGE_SLICE": "2", "INTERACTD_DATABASE_POOL": "8"}         # writes are held open, some at a time

    async def setUp(self) -> None:
        await super().setUp()
        self.sql(GATE)
        self.connection = self.connect()
        self.played = self.synced = self.refusals = 0

    def connect(self) -> Any:
        """A connection past the API."""
        made = psycopg2.connect(self.dsn)
        made.autocommit = True
        self.addCleanup(made.close)
        return made

    def rows(self, text: str, *values: Any) -> list[Any]:
        """First columns of a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return [row[0] for row in cursor.fetchall()]

    async def test_converges(self) -> None:
        """Each device ends with what the lists show, which is what an empty device gets."""
        until = time.monotonic() + SECONDS
        gates, failures = [self.connect(), self.connect()], []

        @settings(derandomize=True, database=None, deadline=None, max_examples=45, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(st.lists(STEP, min_size=12, max_size=40))
        def check(program: list[Any]) -> None:
            # another time the same program may do well: it is not tried again
            if not failures and (self.played < LEAST or time.monotonic() < until):
                try:
                    blockingCallFromThread(reactor, lambda: shield(self.play(program, gates)))
                except Exception:
                    failures.append(f"{traceback.format_exc()}\nThe program: {program}")
        await deferToThread(check)
        self.assertEqual(failures, [], "".join(failures))
        self.assertGreaterEqual(self.played, LEAST)
        self.assertGreater(self.synced, 6 * self.played)

    async def play(self, program: list[Any], gates: list[Any]) -> None:
        """One program, in a company of its own."""
        play = await self.cast(gates)
        try:
            for what, *details in program:
                await getattr(self, "step_" + what)(play, *details)
        finally:
            for n in (0, 1):
                await self.step_open(play, n)
        await self.rest(play)
        for device in play.devices:
            await self.pulled(play, device)
            there = await self.everything(device.who)
            self.same(device, there, "in the end")
            fresh = await self.replica(device.who, "fresh" + device.device)
            await self.sync(fresh)
            self.same(fresh, there, "an empty device")
        self.played += 1

    async def cast(self, gates: list[Any]) -> Play:
        """A company, two clients with three contacts each, two devices each."""
        here = self.company()
        people = [self.person(company=here) for _ in gates]
        boss = self.person(company=here, roles=("customer_admin",))
        group = self.rows("INSERT INTO groups (company_id, name) VALUES (%s, 'g') RETURNING id", here)[0]
        custom = self.rows("INSERT INTO custom_fields (company_id, name) VALUES (%s, 'f') RETURNING id", here)[0]
        clients, devices = [], []
        for who, gate in zip(people, gates):
            self.sql("INSERT INTO group_members VALUES (%s, %s, %s)", here, group, who.id)
            trigger = (await self.put("/v2/triggerDevices", who, {"deviceId": "t"})).entity["triggerToken"]
            clients.append(Client(who, trigger, gate))
            devices += [await self.replica(who, "cursor"), await self.replica(who, "since" if who is people[0] else "silent")]
        play = Play(clients, devices, group, boss, custom)
        for n in (0, 1):
            for write in ("person", "organization", "deal"):
                await self.step_write(play, n, write, (0, 1, 2))
        return play

    # steps

    async def step_write(self, play: Play, n: int, name: str, some: Some) -> None:
        """A write; where a gate is shut nobody waits for it."""
        self.begin(play, n, name, some)
        if not any(client.shut for client in play.clients):
            await self.rest(play)

    def begin(self, play: Play, n: int, name: str, some: Some) -> None:
        """A write is under way; four at most, that connections are left."""
        if len(play.pending) < 4:
            play.pending.append(shield(self.taken(play, n, name, some)))

    async def taken(self, play: Play, n: int, name: str, some: Some) -> None:
        """The write is answered: done, or refused for what has gone or changed meanwhile, or for too many at once."""
        reply: Reply | None = await getattr(self, "do_" + name, self.nothing)(play, play.clients[n], *some)
        if reply is not None:
            self.assertIn(reply.status, (200, 201, 400, 403, 404, 409, 503), (name, reply.json))
            self.refusals += reply.status >= 400

    async def nothing(self, *_: Any) -> None:
        """No such write."""
        raise AssertionError("no such write")

    async def step_beside(self, play: Play, n: int, name: str, some: Some) -> None:
        """A write that begins in the midst of the next sync."""
        play.beside.append(lambda: self.begin(play, n, name, some))

    async def step_shut(self, play: Play, n: int) -> None:
        """What this client writes from now on is held before its commit."""
        client = play.clients[n]
        if not client.shut:
            with client.gate.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(7, %s)", (client.who.id,))
            client.shut = True

    async def step_open(self, play: Play, n: int) -> None:
        """What was held goes on, in the midst of the next sync or now."""
        client = play.clients[n]
        if client.shut:
            with client.gate.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(7, %s)", (client.who.id,))
            client.shut = False

    async def step_sync(self, play: Play, which: int) -> None:
        """A device syncs; what was to happen beside it begins together with it."""
        syncing = shield(self.pulled(play, play.devices[which]))
        for begin in play.beside:
            begin()
        play.beside.clear()
        await syncing
        if not any(client.shut for client in play.clients):
            await self.rest(play)

    async def pulled(self, play: Play, device: Replica) -> None:
        """The device takes an answer in; it says what it has by cursor, by time, or not at all."""
        if device.device == "cursor" or not device.cursor:
            await self.sync(device)
        else:
            at = device.cursor.rpartition(".")[2]
            reply = await self.pull(device, **({"since": at} if device.device == "since" else {}))
            self.assertEqual(reply.status, 200, reply.raw)
            device.apply(reply.json)
        self.synced += 1

    async def rest(self, play: Play) -> None:
        """All that is under way is answered."""
        pending, play.pending = play.pending, []
        await gatherResults(pending)

    # writes

    def pick(self, who: Person, table: str, n: int, where: str = "true") -> int | None:
        """One of somebody's rows."""
        ids = self.rows(f"SELECT id FROM {table} WHERE user_id = %s AND {where} ORDER BY id", who.id)
        return int(ids[n % len(ids)]) if ids else None

    async def do_person(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A person with a number and a custom field."""
        organization = self.pick(client.who, "contacts", a, "contact_type = 'organization'")
        return await self.put("/v2/contacts", client.who, {
            "contactType": "person", "firstName": "P%d" % b, "basicInfos": [{"type": "phone", "value": "030 1234%02d" % b}],
            "customFields": [{"id": play.custom, "value": "x"}], "relatedTo": [organization] if organization and c % 2 else []})

    async def do_organization(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """An organization."""
        return await self.put("/v2/contacts", client.who, {"contactType": "organization", "organizationName": "O%d" % b})

    async def edit(self, client: Client, ident: int | None, **body: Any) -> Any:
        """A contact is changed, by the version it has now."""
        versions = self.rows("SELECT version FROM contacts WHERE id = %s", ident)
        return await self.post("/v2/contacts/%d" % ident, client.who, {"version": versions[0], **body}) if ident and versions else None

    async def do_rename(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A person has another name."""
        return await self.edit(client, self.pick(client.who, "contacts", a, "contact_type = 'person'"), firstName="N%d" % b)

    async def do_relate(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A person belongs to an organization, or to none."""
        other = self.pick(client.who, "contacts", b, "contact_type = 'organization'")
        return await self.edit(client, self.pick(client.who, "contacts", a, "contact_type = 'person'"), relatedTo=[other] if other and c % 2 else [])

    async def do_renumber(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A number is another one."""
        info = self.pick(client.who, "basic_infos", a)
        return await self.post("/v2/basicInfos/%d" % info, client.who, {"value": "040 5678%02d" % b}) if info else None

    async def do_forget(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A contact goes, or every trace of it."""
        ident = self.pick(client.who, "contacts", a)
        return await self.delete("/v2/contacts/%d?erase=%d" % (ident, c % 3 == 0), client.who) if ident else None

    def about(self, client: Client, a: int, b: int) -> Any:
        """A contact or a deal."""
        table, kind = (("contacts", "contact"), ("deals", "deal"))[b % 2]
        ident = self.pick(client.who, table, a)
        return {"id": ident, "type": kind} if ident else None

    async def do_note(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A note comes, moves or goes."""
        to, note = self.about(client, a, b), self.pick(client.who, "notes", a)
        if note and c % 3 == 0:
            return await self.delete("/v2/notes/%d" % note, client.who)
        if note and c % 3 == 1:
            return await self.post("/v2/notes/%d" % note, client.who, {"message": "m%d" % c, **({"relatedTo": to} if to else {})})
        return await self.put("/v2/notes", client.who, {"message": "m", "relatedTo": to}) if to else None

    async def do_deal(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A deal with somebody."""
        contact = self.pick(client.who, "contacts", a)
        return await self.put("/v2/deals", client.who, {"name": "D%d" % b, **({"relatedTo": {"id": contact}} if contact else {})})

    async def do_redeal(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A deal has another name and another partner, or none."""
        deal, contact = self.pick(client.who, "deals", a), self.pick(client.who, "contacts", b)
        body = {"name": "E%d" % c, "relatedTo": {"id": contact} if contact and c % 2 else None}
        return await self.post("/v2/deals/%d" % deal, client.who, body) if deal else None

    async def do_undeal(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A deal goes."""
        deal = self.pick(client.who, "deals", a)
        return await self.delete("/v2/deals/%d" % deal, client.who) if deal else None

    def duties(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """What a task may say: for whom, in which list, about what, with which number."""
        other = next(one for one in play.clients if one is not client)
        listed, info = self.pick(client.who, "task_lists", a), self.pick(client.who, "basic_infos", b, "type IN ('phone', 'mobile')")
        whose = (client if c % 2 else other).who.id
        return {"title": "T%d" % c, "assignedTo": {"id": whose}, "listId": listed, "relatedTo": self.about(client, b, a),
                **({"taskType": "scheduled_call", "phoneNumberIds": [info]} if info and c % 3 else {"taskType": "task"})}

    async def do_task(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A task, for oneself or the other one."""
        return await self.put("/v2/tasks", client.who, self.duties(play, client, a, b, c))

    async def do_retask(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A task changes; the other one's is done."""
        task, theirs = self.pick(client.who, "tasks", a), self.rows("SELECT id FROM tasks WHERE assigned_to_id = %s ORDER BY id", client.who.id)
        if theirs and b % 3 == 0:
            return await self.post("/v2/tasks/%d" % theirs[a % len(theirs)], client.who, {"status": ("open", "completed")[c % 2]})
        return await self.post("/v2/tasks/%d" % task, client.who, self.duties(play, client, a, b, c)) if task else None

    async def do_untask(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A task goes."""
        task = self.pick(client.who, "tasks", a)
        return await self.delete("/v2/tasks/%d" % task, client.who) if task else None

    async def do_list(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A list comes, or has another title."""
        listed = self.pick(client.who, "task_lists", a)
        if listed and c % 2:
            return await self.post("/v2/taskLists/%d" % listed, client.who, {"title": "L%d" % b})
        return await self.put("/v2/taskLists", client.who, {"title": "L"})

    async def do_unlist(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A list goes."""
        listed = self.pick(client.who, "task_lists", a)
        return await self.delete("/v2/taskLists/%d" % listed, client.who) if listed else None

    async def do_merge(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """Two contacts become one."""
        stays, goes = self.pick(client.who, "contacts", a, "contact_type = 'person'"), self.pick(client.who, "contacts", b, "contact_type = 'person'")
        versions = self.rows("SELECT version FROM contacts WHERE id = %s", stays)
        if not versions:
            return None
        return await self.post("/v2/contacts?cmd=merge", client.who, {"contactIds": [goes], "contact": {"id": stays, "version": versions[0]}})

    async def do_share(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """Both have a contact."""
        ident = self.pick(client.who, "contacts", a)
        return await self.post("/v2/contacts/%d?cmd=share&groups=%d" % (ident, play.group), client.who, {}) if ident else None

    async def do_event(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """The phone rings."""
        return await self.put("/v2/interactions", client.trigger, {"type": "call-incoming", "data": "030 1234%02d" % a})

    async def do_link(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """A call is somebody's, or nobody's."""
        call, contact = self.pick(client.who, "interactions", a), self.pick(client.who, "contacts", b, "contact_type = 'person'")
        person = {"id": contact} if contact and c % 3 else None
        return await self.post("/v2/interactions/%d" % call, client.who, {"person": person}) if call else None

    async def do_field(self, play: Play, client: Client, a: int, b: int, c: int) -> Any:
        """The custom field has another name."""
        return await self.post("/v2/admin/customFields/%d" % play.custom, play.boss, {"name": "f%d" % c})
