"""GET /v2/sync, row by row of contract section 9."""
from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

from PIL import Image

from interactd.calls import CALLS
from tests.api_case import Person
from tests.sync_case import LISTS, SyncCase

DAY = 86400000


class TabletCase(SyncCase):
    """One user with a tablet."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person("me@example.org")
        self.tablet = await self.replica(self.me)

    async def note(self, contact: int, message: str = "hello") -> Any:
        """A new note."""
        return (await self.put("/v2/notes", self.me, {"message": message, "relatedTo": {"id": contact, "type": "contact"}})).entity

    async def ada(self, **more: Any) -> Any:
        """A new contact."""
        made = await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada", **more})
        self.assertEqual(made.status, 201, made.json)
        return made.entity

    def mark(self) -> Any:
        """Number and time that the tablet has proven."""
        return self.sql("SELECT synced_seq, synced_at FROM devices WHERE device_id = 'tablet' AND user_id = %s", self.me.id)[0]


class Answers(TabletCase):
    """What is answered."""

    async def test_shape(self) -> None:
        """All lists are there, in base projection; a first answer is everything and says so."""
        made = await self.ada()
        answer = (await self.pull(self.tablet)).json
        self.assertEqual(list(answer), [*LISTS, "deleted", "full", "lastSyncTime", "cursor"])
        self.assertEqual((answer["contacts"], answer["deleted"], answer["full"]), ([made], [], True))
        self.assertGreaterEqual(answer["lastSyncTime"], made["changed"])

    async def test_what_changed(self) -> None:
        """The next answer holds what has changed, and the tombstones of what went."""
        one, two = await self.ada(), await self.ada(firstName="Grace")
        await self.sync(self.tablet)
        note = await self.note(one["id"])
        await self.delete("/v2/contacts/%d" % two["id"], self.me)
        answer = await self.sync(self.tablet)
        self.assertEqual(({c["id"] for c in answer["contacts"]}, answer["notes"], answer["deleted"], "full" in answer),
                         ({one["id"]}, [note], [{"id": two["id"], "type": "contact"}], False))
        again = await self.sync(self.tablet)
        self.assertEqual([again[name] for name in (*LISTS, "deleted")], [[]] * 7)

    async def test_successor(self) -> None:
        """The tombstone of a merged contact names whom it has become."""
        one, two = await self.ada(), await self.ada()
        await self.post("/v2/contacts?cmd=merge", self.me, {"contactIds": [two["id"]], "contact": {"id": one["id"], "version": 1}})
        answer = await self.sync(self.tablet)
        self.assertEqual(answer["deleted"], [{"id": two["id"], "type": "contact", "mergedInto": one["id"]}])

    async def test_spellings(self) -> None:
        """`token` and `time` are the seed's other names; a `+` may come as a blank."""
        await self.put("/v2/devices", self.me, {"deviceId": "a+b"})
        for query in ("?token=tablet&time=0", "?deviceId=a+b", "?deviceId=a%2Bb", "?deviceId=tablet&_=17"):
            self.assertEqual((await self.get("/v2/sync" + query, self.me)).status, 200, query)

    async def test_faults(self) -> None:
        """Each fault has its own code, action 017, realm 050."""
        other = self.person()
        await self.put("/v2/devices", other, {"deviceId": "theirs"})
        for query, status, code in (
                ("", 400, 92020170502001), ("?deviceId=", 400, 92010170502002), ("?deviceId=" + "x" * 201, 400, 92010170502004),
                ("?deviceId=nobody", 404, 91080170501001), ("?deviceId=theirs", 404, 91080170501001),
                ("?deviceId=tablet&since=x", 400, 92010170502003), ("?deviceId=tablet&since=-1", 400, 92010170502004),
                ("?deviceId=tablet&cursor=x", 400, 92010170502003), ("?deviceId=tablet&cursor=", 400, 92010170502003),
                ("?deviceId=tablet&offset=0", 400, 92010170502005), ("?deviceId=tablet&token=tablet", 400, 92010170502005)):
            self.refused(await self.get("/v2/sync" + query, self.me), status, code)
        self.refused(await self.get("/v2/sync?deviceId=tablet"), 401, 94010170505001)
        self.refused(await self.get("/v2/sync?deviceId=tablet", Person(0, "", self.token(self.me.id, "trigger app"))), 403, 94020170504004)
        self.refused(await self.put("/v2/sync?deviceId=tablet", self.me), 405, 93000120001001)

    async def test_jsonp(self) -> None:
        """The same answer as a script; a token in the query is not taken here."""
        await self.ada(firstName="A\u2028")
        plain = await self.pull(self.tablet, since="0")
        script = await self.pull(self.tablet, since="0", callback="got")
        self.assertEqual(script.raw, b"/**/got(" + plain.raw.replace("\u2028".encode(), b"\\u2028") + b");")

    async def test_stays_apart(self) -> None:
        """Nobody gets what is somebody else's."""
        await self.ada()
        stranger = await self.replica(self.person())
        answer = await self.sync(stranger)
        self.assertEqual([answer[name] for name in (*LISTS, "deleted")], [[]] * 7)

    async def test_assigned_tasks(self) -> None:
        """A task that somebody else assigned comes without `listId`, and leaves a tombstone when it goes elsewhere."""
        here = self.company()
        boss, mate = self.person(company=here), self.person(company=here)
        phone = await self.replica(mate, "phone")
        await self.sync(phone)
        listed = (await self.put("/v2/taskLists", boss, {"title": "x"})).entity["id"]
        made = (await self.put("/v2/tasks", boss, {"title": "t", "assignedTo": {"id": mate.id}, "listId": listed})).entity
        answer = await self.sync(phone)
        self.assertEqual((answer["tasks"], answer["taskLists"]), ([{k: v for k, v in made.items() if k != "listId"}], []))
        await self.post("/v2/tasks/%d" % made["id"], boss, {"assignedTo": {"id": boss.id}})
        answer = await self.sync(phone)
        self.assertEqual((answer["tasks"], answer["deleted"]), ([], [{"id": made["id"], "type": "task"}]))


class Slices(Answers):
    """The same, all of it read one row at a time."""

    settings = {"INTERACTD_LIMITS_PAGE_SLICE": "1"}

    async def test_many_of_one_number(self) -> None:
        """What went or changed at once has one number, and ids of different types are equal: nothing is lost between slices."""
        made = [await self.ada(firstName="n%d" % n) for n in range(4)]
        self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
        for table, columns in (("notes", "message, contact_id"), ("deals", "name, contact_id")):
            self.sql(f"INSERT INTO {table} (id, user_id, {columns}, seq) OVERRIDING SYSTEM VALUE "
                     "SELECT id, user_id, 'x', id, number_of(user_id) FROM contacts WHERE user_id = %s", self.me.id)
        await self.sync(self.tablet)
        self.same(self.tablet, await self.everything(self.me))
        self.assertEqual(len(self.tablet.things), 12)
        await self.delete("/v2/contacts?ids=" + ",".join(str(c["id"]) for c in made), self.me)
        answer = await self.sync(self.tablet)
        self.assertEqual(len(answer["deleted"]), 8)
        self.assertEqual({kind for kind, _ in self.tablet.things}, {"deal"})
        self.same(self.tablet, await self.everything(self.me))


class Marks(TabletCase):
    """What a device is known to have."""

    async def test_cursor_proves(self) -> None:
        """A cursor that the device was given moves its mark, whatever is asked for later."""
        await self.ada()
        first = await self.sync(self.tablet)
        self.assertEqual(self.mark()[0], 0)
        await self.sync(self.tablet)
        self.assertEqual(self.mark(), (int(first["cursor"].split(".")[1]), first["lastSyncTime"]))
        self.assertEqual((await self.pull(self.tablet)).json["contacts"], [])

    async def test_since_proves(self) -> None:
        """So does the `lastSyncTime` that it was given."""
        await self.ada()
        first = (await self.pull(self.tablet)).json
        self.same_lists(await self.pull(self.tablet, since=str(first["lastSyncTime"])), contacts=0)
        self.assertEqual(self.mark()[1], first["lastSyncTime"])
        grace = await self.ada(firstName="Grace")
        second = await self.pull(self.tablet, since=str(first["lastSyncTime"]))
        self.assertEqual(second.json["contacts"], [grace])

    def same_lists(self, reply: Any, **counts: int) -> None:
        """The lists have so many entries."""
        self.assertEqual({name: len(reply.json[name]) for name in counts}, counts, reply.json)

    async def test_since_beyond(self) -> None:
        """A time that it was not given proves nothing: the answer starts at the mark, and the mark stays."""
        await self.ada()
        await self.sync(self.tablet)
        await self.sync(self.tablet)
        mark = self.mark()
        await self.ada(firstName="Grace")
        for since in (mark[1] + 1, mark[1] + 10 * DAY, 253402300799999):
            self.same_lists(await self.pull(self.tablet, since=str(since)), contacts=1)
        self.assertEqual(self.mark(), mark)

    async def test_given_to_another(self) -> None:
        """Neither does a time or a cursor that another device was given."""
        phone = await self.replica(self.me, "phone")
        await self.ada()
        other = await self.sync(phone)
        self.same_lists(await self.pull(self.tablet, since=str(other["lastSyncTime"])), contacts=1)
        self.same_lists(await self.pull(self.tablet, cursor=other["cursor"]), contacts=1)
        self.assertEqual(self.mark()[0], 0)

    async def test_since_before(self) -> None:
        """A time before the mark is taken: from the last number known for it; the mark does not go back."""
        await self.ada()
        first = await self.sync(self.tablet)
        grace = await self.ada(firstName="Grace")
        second = await self.sync(self.tablet)
        await self.sync(self.tablet)
        mark = self.mark()
        self.assertEqual((await self.pull(self.tablet, since=str(first["lastSyncTime"]))).json["contacts"], [grace])
        self.assertEqual((await self.pull(self.tablet, since=str(second["lastSyncTime"] - 1))).json["contacts"], [grace])
        self.assertEqual((await self.pull(self.tablet, cursor=first["cursor"])).json["contacts"], [grace])
        early = (await self.pull(self.tablet, since=str(first["lastSyncTime"] - 1))).json
        self.assertEqual((len(early["contacts"]), early["full"]), (2, True))
        self.assertEqual(self.mark(), mark)

    async def test_epochs(self) -> None:
        """A cursor of the future, of another epoch: everything, with the tombstones; the mark of another epoch counts no more."""
        ada = await self.ada()
        gone = await self.ada()
        await self.delete("/v2/contacts/%d" % gone["id"], self.me)
        await self.sync(self.tablet)
        epoch, seq, at = (await self.sync(self.tablet))["cursor"].split(".")
        for cursor in (f"{epoch}.{int(seq) + 1}.{at}", f"0a.{seq}.{at}"):
            answer = (await self.pull(self.tablet, cursor=cursor)).json
            self.assertEqual((answer.get("full"), answer["contacts"], len(answer["deleted"])), (True, [ada], 1), cursor)
        self.sql("UPDATE counters SET epoch = '0b'")
        for more in ({"since": at}, {"cursor": f"{epoch}.{seq}.{at}"}, {}):
            answer = (await self.pull(self.tablet, **more)).json
            self.assertEqual((answer.get("full"), answer["cursor"].split(".")[0]), (True, "0b"), more)
        now = (await self.pull(self.tablet, cursor=answer["cursor"])).json
        self.assertEqual((now["contacts"], "full" in now), ([], False))

    async def test_too_old(self) -> None:
        """A start over 90 days ago is answered with everything, since tombstones are kept no longer."""
        ada = await self.ada()
        epoch, seq, now = (await self.sync(self.tablet))["cursor"].split(".")
        for days, full in ((89, None), (91, True)):
            at = str(int(now) - days * DAY)
            for more in ({}, {"cursor": f"{epoch}.{seq}.{at}"}, {"since": at}):
                self.sql("UPDATE devices SET synced_at = %s, synced_seq = %s, synced_epoch = %s", at, seq, epoch)
                self.sql("UPDATE sync_marks SET at = %s WHERE at = (SELECT min(at) FROM sync_marks)", at)
                answer = (await self.pull(self.tablet, **more)).json
                self.assertEqual((answer.get("full"), answer["contacts"]), (full, [ada] if full else []), (days, more))

    async def test_marks_are_few(self) -> None:
        """Nothing is written where nothing changed; of many marks the newest 20 stay, before them one a day."""
        await self.ada()
        for _ in range(3):
            await self.sync(self.tablet)
        self.assertEqual(self.sql("SELECT count(*) FROM sync_marks"), [(1,)])
        self.sql("INSERT INTO sync_marks SELECT user_id, device_id, at - g * 3600000::bigint, seq, epoch FROM sync_marks, generate_series(1, 2400) g")
        await self.ada()
        await self.sync(self.tablet)
        kept = self.sql("SELECT count(*), count(DISTINCT at / 86400000), min(at) > %s FROM sync_marks", self.mark()[1] - 91 * DAY)[0]
        self.assertTrue(90 <= kept[1] <= 92 and kept[0] <= kept[1] + 20 and kept[2], kept)

    async def test_wipe(self) -> None:
        """After a wipe the number goes on, and whoever registers again is told to forget what it had."""
        await self.ada()
        seq = int((await self.sync(self.tablet))["cursor"].split(".")[1])
        boss = self.person(roles=("interact_admin",))
        self.assertEqual((await self.post("/v2/admin/users/%d?cmd=wipeAccount" % self.me.id, boss)).status, 200)
        again = await self.replica(Person(self.me.id, self.me.email, self.token(self.me.id)))
        again.things, again.cursor = self.tablet.things, self.tablet.cursor
        answer = await self.sync(again)
        self.assertGreater(int(answer["cursor"].split(".")[1]), seq)
        self.assertEqual((again.things, answer["full"]), ({}, True))
        self.assertEqual(self.sql("SELECT count(*) FROM sync_marks"), [(1,)])


class EveryWrite(SyncCase):
    """Whatever a call changes, the next sync of each device concerned shows: after each the device holds what the lists show."""

    async def setUp(self) -> None:
        await super().setUp()
        self.here = self.company()
        self.me, self.mate = self.person("me@example.org", self.here), self.person("mate@example.org", self.here)
        self.boss = self.person("boss@example.org", self.here, ("customer_admin", "interact_admin"))
        self.devices = [await self.replica(who) for who in (self.me, self.mate)]
        self.made: set[tuple[str, str, str]] = set()
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "t"})).entity["triggerToken"]

    async def do(self, verb: str, path: str, body: Any = None, who: Person | str | None = None) -> Any:
        """The call succeeds, and then every device has all there is; answers the entity."""
        reply = await self.ask(verb, path, who or self.me, body)
        self.assertIn(reply.status, (200, 201), (verb, path, reply.json))
        query = dict(part.split("=") for part in path.partition("?")[2].split("&") if part)
        parts = [":id" if part.isdigit() else part for part in path.partition("?")[0].split("/")]
        self.made.add((verb, "/".join(parts), query.get("cmd", "")))
        await self.settle(f"{verb} {path} {body}")
        return reply.json.get("entity")

    async def settle(self, about: str) -> None:
        """Every device syncs, and has all there is."""
        for device in self.devices:
            await self.sync(device)
            self.same(device, await self.everything(device.who), about)

    async def test_every_write(self) -> None:
        """One story with all calls that write what devices hold."""
        do = self.do
        field = (await do("PUT", "/v2/admin/customFields", {"name": "size", "dataType": "varchar", "entityType": "contact"}, self.boss))["id"]
        ada = await do("PUT", "/v2/contacts", {
            "contactType": "person", "firstName": "Ada", "customFields": [{"id": field, "value": "XL"}], "tags": ["t"],
            "basicInfos": [{"type": "phone", "value": "030 123456"}, {"type": "email", "value": "a@example.org"}]})
        acme = await do("PUT", "/v2/contacts", {"contactType": "organization", "organizationName": "ACME", "relatedTo": [ada["id"]]})
        about = {"id": ada["id"], "type": "contact"}
        deal = await do("PUT", "/v2/deals", {"name": "d", "relatedTo": {"id": ada["id"]}})
        notes = [await do("PUT", "/v2/notes", {"message": "m", "relatedTo": to}) for to in (about, {"id": deal["id"], "type": "deal"}, about)]
        todo = await do("PUT", "/v2/taskLists", {"title": "l"})
        phone = ada["basicInfos"][0]["id"]
        call = {"title": "t", "taskType": "scheduled_call", "phoneNumberIds": [phone], "relatedTo": about, "assignedTo": {"id": self.mate.id}}
        tasks = [await do("PUT", "/v2/tasks", {**call, "listId": todo["id"]}),
                 await do("PUT", "/v2/tasks", {"title": "u", "relatedTo": {"id": deal["id"], "type": "deal"}, "listId": todo["id"]}),
                 await do("PUT", "/v2/tasks", {"title": "v"}), await do("PUT", "/v2/tasks", {**call, "relatedTo": None})]
        event = await do("PUT", "/v2/interactions", {"type": "call-incoming", "data": "030 123456"}, self.trigger)
        stranger = await do("PUT", "/v2/interactions", {"type": "sms-incoming", "data": "040 999999"}, self.trigger)
        # what others show of it
        await do("POST", "/v2/contacts/%d" % ada["id"], {"version": await self.version(ada), "firstName": "Augusta"})
        await do("POST", "/v2/contacts/%d" % acme["id"], {"version": await self.version(acme), "organizationName": "Acme AG", "relatedTo": []})
        await do("POST", "/v2/deals/%d" % deal["id"], {"name": "deal", "hot": True})
        await do("POST", "/v2/basicInfos/%d" % phone, {"identifier": "desk"})
        await do("PUT", "/v2/basicInfos", {"type": "phone", "value": "+4940999999"})
        await do("POST", "/v2/interactions/%d" % stranger["id"], {"person": {"id": ada["id"]}, "organization": {"id": acme["id"]}})
        await do("POST", "/v2/interactions/%d" % stranger["id"], {"person": None, "externalSystems": [{"name": "s", "threadId": "t"}]})
        await do("POST", "/v2/interactions/%d" % event["id"], {"status": "answered"}, self.trigger)
        await do("POST", "/v2/admin/customFields/%d" % field, {"name": "measure"}, self.boss)
        await self.post("/v2/admin/users/%d" % self.mate.id, self.boss, {"email": "mate@example.com"})
        self.mate = self.devices[1].who = Person(self.mate.id, "mate@example.com", self.token(self.mate.id), self.here)
        await self.settle("another e-mail")
        await do("POST", "/v2/notes/%d" % notes[0]["id"], {"relatedTo": {"id": deal["id"], "type": "deal"}})
        await do("POST", "/v2/tasks/%d" % tasks[0]["id"], {"status": "completed"}, self.mate)
        await do("POST", "/v2/tasks/%d" % tasks[2]["id"], {"listId": todo["id"], "relatedTo": about, "assignedTo": {"id": self.mate.id}})
        await do("POST", "/v2/taskLists/%d" % todo["id"], {"title": "list"})
        await self.pictures(ada)
        # one out of two, one for several
        twin = await do("PUT", "/v2/contacts", {"contactType": "person", "firstName": "A.", "basicInfos": [{"type": "phone", "value": "030 123456"}],
                                                "relatedTo": [acme["id"]]})
        await do("PUT", "/v2/tasks", {**call, "phoneNumberIds": [twin["basicInfos"][0]["id"]], "relatedTo": {"id": twin["id"], "type": "contact"}})
        merged = {"contactIds": [twin["id"]], "contact": {"id": ada["id"], "version": await self.version(ada), "lastName": "L"}}
        await do("POST", "/v2/contacts?cmd=merge", merged)
        group = (await do("PUT", "/v2/admin/groups", {"name": "g"}, self.boss))["id"]
        await do("POST", "/v2/admin/users/%d/groups?cmd=set" % self.mate.id, [group], self.boss)
        ada = await do("POST", "/v2/contacts/%d?cmd=share&groups=%d" % (ada["id"], group), {})
        await do("POST", "/v2/contacts/%d" % ada["id"], {"version": await self.version(ada), "basicInfos": [], "tags": []})
        # what goes
        spare = await do("PUT", "/v2/contacts", {"contactType": "organization", "organizationName": "Spare", "relatedTo": [ada["id"]]})
        about = {"id": spare["id"], "type": "contact"}
        await do("PUT", "/v2/deals", {"name": "stays", "relatedTo": {"id": spare["id"]}})
        gone = await do("PUT", "/v2/tasks", {"title": "w", "relatedTo": about, "listId": todo["id"]})
        await do("DELETE", "/v2/tasks/%d" % gone["id"])
        gone = await do("PUT", "/v2/notes", {"message": "w", "relatedTo": about})
        await do("DELETE", "/v2/notes/%d" % gone["id"])
        await do("PUT", "/v2/notes", {"message": "w", "relatedTo": about})
        await do("PUT", "/v2/tasks", {"title": "w", "relatedTo": about, "assignedTo": {"id": self.mate.id}})
        await do("DELETE", "/v2/contacts/%d" % spare["id"])
        await do("DELETE", "/v2/admin/customFields?ids=%d" % field, None, self.boss)
        await do("DELETE", "/v2/notes/%d" % notes[0]["id"])
        await do("DELETE", "/v2/notes?ids=%d" % notes[1]["id"])
        await do("POST", "/v2/tasks/%d" % tasks[2]["id"], {"assignedTo": None})
        await do("POST", "/v2/tasks/%d" % tasks[2]["id"], {"assignedTo": {"id": self.mate.id}})
        await do("DELETE", "/v2/tasks/%d" % tasks[3]["id"])
        await do("DELETE", "/v2/deals/%d" % deal["id"])
        await do("DELETE", "/v2/taskLists/%d" % todo["id"])
        await do("DELETE", "/v2/tasks?ids=%d" % tasks[1]["id"])
        call = await do("PUT", "/v2/interactions", {"type": "call-incoming", "data": "030 777777"}, self.trigger)
        await do("PUT", "/v2/interactions", {"type": "call-incoming", "data": "030 777777", "time": call["time"] - 5000}, self.trigger)
        await do("POST", "/v2/interactions/%d" % call["id"], {"person": {"id": ada["id"]}})
        await do("DELETE", "/v2/contacts/%d?erase=1" % ada["id"])
        other = await do("PUT", "/v2/contacts", {"contactType": "person", "firstName": "Other"})
        await do("DELETE", "/v2/contacts/%d" % other["id"])
        await do("DELETE", "/v2/contacts?ids=%d" % acme["id"])
        await do("PUT", "/v2/deals", {"name": "d"})
        await do("DELETE", "/v2/deals?ids=%d" % (deal["id"] + 1))
        mine = await do("PUT", "/v2/tasks", {"title": "back"}, self.mate)
        await do("POST", "/v2/tasks/%d" % mine["id"], {"assignedTo": {"id": self.me.id}}, self.mate)
        await self.ask("POST", "/v2/admin/users/%d?cmd=wipeAccount" % self.mate.id, self.boss)
        self.devices.pop()
        await self.settle("wipe of a colleague")
        self.assertNotIn(("task", mine["id"]), self.devices[0].things)
        self.assertIn(("task", tasks[2]["id"]), self.devices[0].things)
        self.assertEqual(set(), self.writing() - self.made)

    async def version(self, contact: Any) -> Any:
        """The contact's version now."""
        return (await self.get("/v2/contacts/%d" % contact["id"], self.me)).json["version"]

    async def pictures(self, contact: Any) -> None:
        """Two pictures come, change and go."""
        drawn = BytesIO()
        Image.new("RGB", (2, 2)).save(drawn, "PNG")
        body = {"contactId": contact["id"], "base64": b64encode(drawn.getvalue()).decode()}
        first, second, _ = [(await self.do("PUT", "/v2/pictures", body))["id"] for _ in range(3)]
        await self.do("POST", "/v2/pictures/%d" % second, {"isDefault": True})
        await self.do("DELETE", "/v2/pictures/%d" % second)
        await self.do("DELETE", "/v2/pictures?ids=%d" % first)

    def writing(self) -> set[tuple[str, str, str]]:
        """The calls that write what devices hold."""
        mine = ("basicInfos", "contacts", "deals", "interactions", "notes", "pictures", "taskLists", "tasks", "admin/customFields")
        paths = tuple("/v2/" + name for name in mine)
        return {(c.verb, c.path, c.cmd or "") for c in CALLS if c.documented and c.verb != "GET" and c.path.startswith(paths)}
