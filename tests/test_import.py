"""Imports of an address book, again and again: what becomes of whom (docs/import.md, the table)."""
from __future__ import annotations

from base64 import b64encode
from typing import Any

import psycopg2
from PIL import Image
from twisted.internet.defer import Deferred

from interactd.changes import Progress
from interactd.errors import LoginRefused, Unavailable
from interactd.imports.person import Photo
from tests.import_case import ImportCase, Shelf, somebody
from tests.live_case import LiveCase
from tests.test_pictures import file

ADA = somebody("Ada", ("mobile", "+491771"), ("email", "ada@example.org"))


class Asked(ImportCase):
    """What is refused before anything is contacted."""

    async def test_requests(self) -> None:
        """Unknown systems, missing names, wrong times and forms of groups: 400."""
        body = {"externalSystem": "carddav", "username": "me", "password": "secret"}
        for change, error in (({"externalSystem": "yahoo"}, 92010151112003), ({"username": None}, 92020151112001),
                              ({"password": ""}, 92010151112002)):
            self.refused(await self.post("/v2/import?cmd=importContacts", self.me, {**body, **change}), 400, error)
        for query in ("updated-min=yesterday", "updated-min=2012-12-31", "updated-min=2012-13-31T00:00:00", "updated-min=2012-12-31T00:00:00%2B01:00",
                      "groupIds=a%20b", "groupIds=a,,b", "groupIds=", "nameRequired=2"):
            self.refused(await self.post(f"/v2/import?cmd=importContacts&{query}", self.me, body), 400, 92010151112003)
        self.assertEqual(self.shelf.asked, [])
        self.assertEqual((await self.get("/v2/import/status", self.me)).json, [])

    async def test_groups(self) -> None:
        """The groups, which changes nothing."""
        self.shelf.put("1", ADA, groups=frozenset(("b", "a")))
        body = {"externalSystem": "carddav", "username": "me", "password": "secret"}
        reply = await self.post("/v2/import?cmd=getContactGroups", self.me, body)
        self.assertEqual((reply.status, reply.json), (200, [{"externalId": "a", "name": "A"}, {"externalId": "b", "name": "B"}]))
        self.assertEqual((await self.get("/v2/import/status", self.me)).json, [])

    async def test_busy(self) -> None:
        """The same account twice at once: 409; another account, and the same one of somebody else, are not in the way."""
        self.shelf.put("1", ADA)
        waiting: Deferred[None] = Deferred()
        reached: Deferred[None] = Deferred()

        async def on_page(number: int) -> None:
            if not reached.called:
                reached.callback(None)
                await waiting
        self.shelf.on_page = on_page
        first = Deferred.fromCoroutine(self.imports())
        await reached
        self.refused(await self.imports(), 409, 93000151116002)
        self.assertEqual((await self.get("/v2/import/status", self.me)).json[0]["running"], True)
        self.assertEqual((await self.imports(self.person())).status, 200)
        waiting.callback(None)
        self.assertEqual((await first).status, 200)
        self.assertEqual((await self.imports()).status, 200)

    async def test_at_most_four(self) -> None:
        """A fifth import on this node is told to come again."""
        self.shelf.put("1", ADA)
        waiting: Deferred[None] = Deferred()
        arrived: list[int] = []
        full: Deferred[None] = Deferred()

        async def on_page(number: int) -> None:
            arrived.append(number)
            if len(arrived) == 4:
                full.callback(None)
            await waiting
        self.shelf.on_page = on_page
        running = [Deferred.fromCoroutine(self.imports(self.person())) for _ in range(4)]
        await full
        reply = await self.imports()
        self.refused(reply, 503, 90020151111001)
        self.assertTrue(reply.headers.hasHeader("Retry-After"))
        waiting.callback(None)
        self.assertEqual([(await one).status for one in running], [200] * 4)
        self.assertEqual((await self.imports()).status, 200)


class Contacts(ImportCase):
    """Created, updated, left alone."""

    async def test_three_times(self) -> None:
        """The same book three times, with and without a token: the same contacts."""
        for n in range(5):
            self.shelf.put(str(n), somebody(f"N{n}", ("phone", f"+4930100{n}")))
        for self.shelf.syncs in (True, False):
            for attempt in range(3):
                answer = await self.imported()
                self.assertEqual(self.lists(answer), {"created": 5} if self.shelf.syncs and not attempt else {})
                self.assertEqual(len(await self.contacts()), 5)
        self.assertEqual({c["version"] for c in (await self.contacts()).values()}, {1})

    async def test_answer(self) -> None:
        """The members of the answer; the import is in the activities and numbers of the user."""
        self.shelf.put("1", ADA)
        answer = await self.imported()
        ada = (await self.contacts())["Ada X"]
        self.assertEqual({k: v for k, v in answer.items() if k != "importTime"}, {
            "externalSystem": "carddav", "externalSystemAccount": "me", "failed": [], "created": [ada["id"]], "updated": [], "deleted": []})
        self.assertLessEqual(answer["importTime"], ada["created"])
        activities = (await self.get("/v2/activities", self.me)).json["data"]
        self.assertEqual([(a["action"], a["entityType"], a["entity"]["id"]) for a in activities], [("insert", "contact", ada["id"])])
        found = (await self.get("/v2/cleanup?cmd=getConflicts&value=0177%201", self.me)).json["data"]
        self.assertEqual([c["id"] for c in found], [ada["id"]])

    async def test_changed(self) -> None:
        """A change there comes here; the basicInfos keep their ids."""
        self.shelf.put("1", ADA)
        await self.imported()
        before = (await self.contacts())["Ada X"]
        self.shelf.put("1", somebody("Ada", ("mobile", "+491771"), ("phone", "+49302"), profession="poet"))
        answer = await self.imported()
        after = (await self.contacts())["Ada X"]
        self.assertEqual((answer["updated"], answer["created"]), ([before["id"]], []))
        self.assertEqual((self.values(after), after["profession"], after["version"]), (["+491771", "+49302"], "poet", before["version"] + 1))
        self.assertEqual(after["basicInfos"][0]["id"], before["basicInfos"][0]["id"])

    async def test_edited_here(self) -> None:
        """What was edited here stays; what was not follows."""
        self.shelf.put("1", somebody("Ada", ("mobile", "+491771"), ("email", "ada@example.org"), title="Dr."))
        await self.imported()
        ada = (await self.contacts())["Ada X"]
        infos = [{"id": ada["basicInfos"][0]["id"], "value": "+491772"}, {"type": "website", "value": "https://example.org"}]
        edited = await self.post(f"/v2/contacts/{ada['id']}", self.me, {"version": 1, "lastName": "Lovelace", "basicInfos": infos})
        self.assertEqual(edited.status, 200)
        self.shelf.put("1", somebody("Augusta", ("mobile", "+491771"), ("email", "ada@example.org"), ("fax", "+4930"), last="Byron", title="Prof."))
        await self.imported()
        after = (await self.contacts())["Augusta Lovelace"]
        self.assertEqual((after["title"], sorted(self.values(after))), ("Prof.", ["+491772", "+4930", "https://example.org"]))

    async def test_edited_in_this_moment(self) -> None:
        """An edit between reading and writing is not overwritten."""
        self.shelf.put("1", ADA)
        await self.imported()
        ada = (await self.contacts())["Ada X"]
        self.shelf.put("1", somebody("Augusta", title="Dr."))
        other = psycopg2.connect(self.dsn)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT take(ARRAY[%s::bigint])", (self.me.id,))
            running = Deferred.fromCoroutine(self.imported())
            while not self.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
                await self.get("/healthz")
            cursor.execute("UPDATE contacts SET last_name = 'kept', version = version + 1 WHERE id = %s", (ada["id"],))
            other.commit()
        self.assertEqual((await running)["updated"], [ada["id"]])
        after = (await self.contacts())["Augusta kept"]
        self.assertEqual((after["title"], after["version"]), ("Dr.", 3))

    async def test_deleted_here(self) -> None:
        """Who was deleted here is not brought back, whole list or not; a new entry is a new contact."""
        self.shelf.put("1", ADA)
        await self.imported()
        ada = (await self.contacts())["Ada X"]
        await self.delete(f"/v2/contacts/{ada['id']}", self.me)
        for syncs in (True, False):
            self.shelf.syncs = syncs
            self.shelf.put("1", somebody("Ada", title="Dr."))
            self.assertEqual(self.lists(await self.imported()), {})
        self.shelf.drop("1")
        self.shelf.put("2", ADA)
        self.assertEqual(self.lists(await self.imported()), {"created": 1})

    async def test_renamed(self) -> None:
        """An entry that is somewhere else now, under another id: the same contact, reported as updated."""
        self.shelf.put("1", ADA)
        await self.imported()
        ada = (await self.contacts())["Ada X"]
        entry = self.shelf.entries.pop("1")
        self.shelf.log.append((entry.place, False))
        self.shelf.put("7", ADA, formerly=("/1",))
        self.shelf.syncs = False
        self.sql("UPDATE import_states SET token = NULL")
        answer = await self.imported()
        self.assertEqual((answer["updated"], answer["deleted"], answer["created"]), ([ada["id"]], [], []))
        self.assertEqual(self.lists(await self.imported()), {})

    async def test_twice_in_one_list(self) -> None:
        """Of an entry that is told twice the last word counts."""
        self.shelf.put("1", ADA)
        self.shelf.entries["again"] = self.shelf.entries["1"].__class__("1", "/1", "other", somebody("Augusta"))
        answer = await self.imported()
        self.assertEqual((self.lists(answer), list(await self.contacts())), ({"created": 1}, ["Augusta X"]))


class Failing(ImportCase):
    """People who can not become a contact by themselves."""

    async def test_required(self) -> None:
        """Without the name, number or address that is required they are import contacts: seen by the clean-up, gone by a merge."""
        self.shelf.put("1", somebody("", ("email", "a@example.org"), last="a@example.org"), named=False)
        self.shelf.put("2", somebody("Bob", ("email", "b@example.org")))
        self.shelf.put("3", ADA)
        answer = await self.imported(nameRequired=1, phoneRequired="true", emailRequired=0)
        self.assertEqual((self.lists(answer), list(await self.contacts())), ({"created": 1, "failed": 2}, ["Ada X"]))
        found = (await self.get("/v2/cleanup?cmd=getConflicts&value=b@example.org", self.me)).json["data"]
        self.assertEqual([(c["id"], c["importContact"], c["displayName"]) for c in found], [(answer["failed"][1], True, "Bob X")])
        merged = await self.post("/v2/contacts?cmd=merge", self.me, {"importContactIds": [answer["failed"][1]], "contact": {
            "contactType": "person", "firstName": "Bob"}})
        self.assertEqual(self.values(merged.entity), ["b@example.org"])
        self.shelf.put("2", somebody("Bob", ("email", "b@example.org"), ("phone", "+4930")))
        answer = await self.imported()
        self.assertEqual(answer["updated"], [merged.entity["id"]])
        self.assertEqual(self.values((await self.contacts())["Bob"]), ["b@example.org", "+4930"])

    async def test_later(self) -> None:
        """What was lacking is there now, or is not required any more: a contact."""
        self.shelf.put("1", somebody("Bob"))
        self.assertEqual(self.lists(await self.imported(phoneRequired=1)), {"failed": 1})
        self.assertEqual(self.lists(await self.imported()), {"created": 1})
        self.assertEqual(self.sql("SELECT count(*) FROM import_contacts"), [(0,)])

    async def test_shared_values(self) -> None:
        """A number or address that stands with a contact, of before or of this import; a website may be everybody's."""
        await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Here", "basicInfos": [{"type": "phone", "value": "0177 1"}]})
        self.shelf.put("1", ADA)
        self.shelf.put("2", somebody("B", ("email", "Ada@Example.org"), ("website", "https://acme.example")))
        self.shelf.put("3", somebody("C", ("email", "ada@example.org"), ("website", "https://acme.example")))
        self.shelf.put("4", somebody("D", ("website", "https://acme.example")))
        answer = await self.imported()
        self.assertEqual((sorted(await self.contacts()), self.lists(answer)), (["B X", "D X", "Here"], {"created": 2, "failed": 2}))
        self.assertEqual((await self.get("/v2/cleanup?cmd=getDuplicates", self.me)).json, ["+491771", "ada@example.org", "https://acme.example"])

    async def test_unreadable(self) -> None:
        """A card that says nothing; one of a known contact changes nothing."""
        self.shelf.put("1", None)
        self.shelf.put("2", ADA)
        self.assertEqual(self.lists(await self.imported()), {"created": 1, "failed": 1})
        self.shelf.put("2", None)
        self.assertEqual(self.lists(await self.imported()), {})
        self.assertIn("Ada X", await self.contacts())

    async def test_not_to_be_stored(self) -> None:
        """One that the database refuses does not stop the others."""
        self.shelf.put("1", somebody("A" * 300))
        self.shelf.put("2", ADA)
        self.assertEqual(self.lists(await self.imported()), {"created": 1, "failed": 1})

    async def test_gone_there(self) -> None:
        """An import contact that is gone there is gone."""
        self.shelf.put("1", somebody("Bob"))
        await self.imported(phoneRequired=1)
        self.shelf.drop("1")
        self.assertEqual(self.lists(await self.imported(phoneRequired=1)), {})
        self.assertEqual(self.sql("SELECT count(*) FROM import_contacts"), [(0,)])


class Chosen(ImportCase):
    """Groups and times."""

    async def test_groups(self) -> None:
        """Those of the groups, those without any; a contact that leaves the group is left alone."""
        self.shelf.put("1", ADA, groups=frozenset("a"))
        self.shelf.put("2", somebody("B"), groups=frozenset("bc"))
        self.shelf.put("3", somebody("C"))
        for chosen, names in (("a", ["Ada X"]), ("none", ["Ada X", "C X"]), ("none,c", ["Ada X", "B X", "C X"])):
            await self.imported(groupIds=chosen)
            self.assertEqual(sorted(await self.contacts()), names)
        self.shelf.put("1", somebody("Eve"))
        self.assertEqual(self.lists(await self.imported(groupIds="a")), {})
        self.assertEqual(sorted(await self.contacts()), ["Ada X", "B X", "C X"])

    async def test_other_filters(self) -> None:
        """A token goes with its filters: with others the whole list is read."""
        self.shelf.put("1", ADA)
        for query, token in (({}, None), ({}, 1), ({"phoneRequired": 1}, None), ({"phoneRequired": 1}, 1), ({}, None)):
            await self.imported(**query)
            self.assertEqual(self.shelf.asked[-1].token, token, query)

    async def test_since(self) -> None:
        """updated-min: what changed before is passed over, what says no time is not; the token stays as it was."""
        self.shelf.put("1", ADA, changed=1356912000000)
        self.shelf.put("2", somebody("B"))
        self.assertEqual(self.lists(await self.imported(updated_min="2012-12-31T00:00:01")), {"created": 1})
        self.assertEqual(self.lists(await self.imported(updated_min="2012-12-31T00:00:00.000Z")), {"created": 1})
        self.assertEqual(self.sql("SELECT token, import_time IS NOT NULL FROM import_states"), [(None, True)])
        await self.imported()
        self.assertEqual((await self.imported(updated_min="2012-12-31T00:00:00"))["created"], [])
        self.assertEqual(self.sql("SELECT token FROM import_states"), [(2,)])

    async def test_expired(self) -> None:
        """A token that is not known any more: the whole list, once; who is not in it is gone."""
        self.shelf.put("1", ADA)
        self.shelf.put("2", somebody("B"))
        await self.imported()
        self.shelf.drop("1")
        self.shelf.log.clear()
        self.shelf.expired = True
        self.assertEqual(self.lists(await self.imported()), {"deleted": 1})
        self.assertEqual([w.token for w in self.shelf.asked], [None, 2, None])


class Deleted(ImportCase):
    """Entries that are gone there."""

    async def fill(self, count: int) -> None:
        """So many contacts."""
        for n in range(count):
            self.shelf.put(str(n), somebody(f"N{n}"))
        await self.imported()

    async def test_unused(self) -> None:
        """Nothing was edited, nothing hangs on it: deleted here, with a tombstone; an unknown id is ignored."""
        await self.fill(2)
        ident = (await self.contacts())["N0 X"]["id"]
        self.shelf.drop("0")
        self.shelf.log.append(("/nobody", False))
        answer = await self.imported()
        self.assertEqual((answer["deleted"], list(await self.contacts())), ([ident], ["N1 X"]))
        self.assertEqual(self.sql("SELECT entity_id FROM tombstones WHERE entity_type = 'contact'"), [(ident,)])

    async def test_in_use(self) -> None:
        """Edited, or with a note, deal, task or interaction: it stays, without its link; reported all the same."""
        for n in range(6):
            self.shelf.put(str(n), somebody(f"N{n}"))
        await self.imported()
        ids = {name: contact["id"] for name, contact in (await self.contacts()).items()}
        related = {"id": ids["N0 X"], "type": "contact"}
        await self.put("/v2/notes", self.me, {"message": "x", "relatedTo": related})
        await self.put("/v2/deals", self.me, {"name": "x", "relatedTo": {"id": ids["N1 X"]}})
        await self.put("/v2/tasks", self.me, {"title": "x", "relatedTo": {**related, "id": ids["N2 X"]}})
        await self.post(f"/v2/contacts/{ids['N3 X']}", self.me, {"version": 1, "hot": True})
        trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})).entity["triggerToken"]
        event = (await self.put("/v2/interactions", trigger, {"type": "call-incoming", "data": "+4930"})).entity
        await self.post(f"/v2/interactions/{event['id']}", self.me, {"person": {"id": ids["N4 X"]}})
        for n in range(6):
            self.shelf.drop(str(n))
        answer = await self.imported()
        self.assertEqual((sorted(answer["deleted"]), sorted(await self.contacts())), (sorted(ids.values()), [f"N{n} X" for n in range(5)]))
        self.assertEqual(self.sql("SELECT count(*) FROM external_contacts"), [(0,)])

    async def test_brake(self) -> None:
        """More than ten and more than a fifth: none, until it is confirmed; with a token and by a whole list."""
        for syncs in (True, False):
            self.shelf.syncs = syncs
            await self.fill(20)
            for n in range(11):
                self.shelf.drop(str(n))
            for _ in range(2):
                answer = await self.imported()
                self.assertEqual((answer["deleted"], answer["deletionsHeld"], len(await self.contacts())), ([], 11, 20))
                self.assertIn("confirmDeletions=1", answer["devmsg"])
            self.assertEqual(len((await self.imported(confirmDeletions=1))["deleted"]), 11)
            self.assertEqual(len(await self.contacts()), 9)

    async def test_suddenly_empty(self) -> None:
        """A peer whose list is suddenly empty deletes nothing."""
        self.shelf.syncs = False
        await self.fill(30)
        self.shelf.entries.clear()
        self.assertEqual((await self.imported())["deletionsHeld"], 30)
        self.assertEqual(len(await self.contacts()), 30)

    async def test_few(self) -> None:
        """Ten of ten are few enough."""
        self.shelf.syncs = False
        await self.fill(10)
        self.shelf.entries.clear()
        self.assertEqual(len((await self.imported())["deleted"]), 10)


class Broken(ImportCase):
    """Imports that do not come to their end."""

    async def test_before_the_first_page(self) -> None:
        """The error; nothing is changed."""
        self.shelf.put("1", ADA)
        for failure, status, code in ((LoginRefused("no"), 401, 90020151117001), (Unavailable("away", detail=7002), 503, 90020151117002)):
            self.shelf.fails = {1: failure}
            self.refused(await self.imports(), status, code)
        self.assertEqual(await self.contacts(), {})
        state, = (await self.get("/v2/import/status", self.me)).json
        self.assertEqual((state["running"], state["progress"]["phase"], state["progress"]["error"]), (False, "failed", "away"))
        self.assertNotIn("importTime", state)
        self.assertEqual((await self.get("/v2/contacts", self.me)).status, 200)        # the authToken stays good

    async def test_in_the_middle(self) -> None:
        """What was stored stays, no deletion, no token; the next import goes on."""
        for n in range(5):
            self.shelf.put(str(n), somebody(f"N{n}"))
        self.shelf.fails = {2: Unavailable("away", detail=7002)}
        answer = await self.imported()
        self.assertEqual((self.lists(answer), answer["incomplete"]), ({"created": 2}, True))
        self.assertEqual(self.sql("SELECT token, import_time FROM import_states"), [(None, None)])
        self.assertEqual(self.lists(await self.imported()), {"created": 3})
        self.shelf.drop("0")
        self.shelf.put("1", somebody("M"))
        self.shelf.fails = {1: Unavailable("away", detail=7002)}
        self.shelf.syncs = False
        self.sql("UPDATE import_states SET token = NULL")
        self.assertEqual(self.lists(await self.imported()), {})
        self.assertEqual(len(await self.contacts()), 5)

    async def test_node_died(self) -> None:
        """An import whose node died is over when its lease ends."""
        self.shelf.put("1", ADA)
        await self.imported()
        self.sql("UPDATE import_states SET run = 'dead', until = now() + interval '1 minute'")
        self.refused(await self.imports(), 409, 93000151116002)
        self.sql("UPDATE import_states SET until = now() - interval '1 second'")
        self.assertEqual(self.lists(await self.imported()), {})

    async def test_wiped(self) -> None:
        """A wipe in mid-import ends it: nothing is stored after it, and nothing is left."""
        for n in range(6):
            self.shelf.put(str(n), somebody(f"N{n}"))
        admin = self.person(roles=("interact_admin",))

        async def on_page(number: int) -> None:
            if number == 2:
                self.assertEqual((await self.post(f"/v2/admin/users/{self.me.id}?cmd=wipeAccount", admin, {})).status, 200)
        self.shelf.on_page = on_page
        self.refused(await self.imports(), 409, 93000151116002)
        for table in ("contacts", "external_contacts", "import_contacts", "import_states"):
            self.assertEqual(self.sql(f"SELECT count(*) FROM {table}"), [(0,)], table)

    async def test_client_gone(self) -> None:
        """The page in work is finished, what is stored is kept, there is no token."""
        for n in range(6):
            self.shelf.put(str(n), somebody(f"N{n}"))
        second: Deferred[None] = Deferred()

        async def on_page(number: int) -> None:
            if number == 2 and not second.called:
                request.cancel()
                second.callback(None)
                await self.get("/healthz")          # behind it, the daemon knows
        self.shelf.on_page = on_page
        request = Deferred.fromCoroutine(self.imports())
        request.addErrback(lambda _: None)
        await second
        while self.sql("SELECT run FROM import_states") != [(None,)]:
            await self.get("/healthz")
        self.assertEqual((len(await self.contacts()), self.sql("SELECT token FROM import_states")), (4, [(None,)]))
        self.shelf.on_page = None
        self.assertEqual(self.lists(await self.imported()), {"created": 2})


class Told(ImportCase):
    """Progress and status."""

    async def test_progress(self) -> None:
        """The hub hears of a long import, and how it ended; so does who asks for the status."""
        told: list[Any] = []
        self.parts.app.hub.subscribe(Progress, lambda event: told.append(event))
        self.shelf.put("1", ADA)
        answer = await self.imported()
        self.assertEqual({event.user_id for event in told}, {self.me.id})
        counts = {"read": 1, "created": 1, "updated": 0, "deleted": 0, "failed": 0}
        self.assertEqual(told[-1].told, {"externalSystem": "carddav", "externalSystemAccount": "me", "phase": "done", **counts})
        state, = (await self.get("/v2/import/status", self.me)).json
        self.assertEqual((state["importTime"], state["running"], state["progress"]), (answer["importTime"], False, told[-1].told))
        self.assertEqual((await self.get("/v2/import/status", self.person())).json, [])

    async def test_no_secret(self) -> None:
        """The password is in no table."""
        self.shelf.put("1", ADA)
        await self.imported()
        self.assertEqual(self.sql("SELECT count(*) FROM import_states s, external_contacts e WHERE (s::text || e::text) LIKE '%%secret%%'"), [(0,)])


def photo(colour: str) -> bytes:
    """A picture file."""
    return file(Image.new("RGB", (20, 10), colour))


class Photos(ImportCase):
    """Photos of entries."""

    async def shown(self, name: str = "Ada X") -> list[str]:
        """The types of a contact's pictures, which can be loaded."""
        found = (await self.contacts())[name]["pictures"]
        for one in found:
            self.assertEqual((await self.get(one["url"][one["url"].index("/v2/"):])).status, 200)
        return [one["type"] for one in found]

    async def test_inline_and_elsewhere(self) -> None:
        """They become pictures of the type of the system, encoded anew; another photo takes the place of the one before."""
        self.shelf.photos["https://x/b"] = photo("red")
        self.shelf.put("1", ADA, photo=Photo("m1", photo("blue")))
        self.shelf.put("2", somebody("B"), photo=Photo("m2", url="https://x/b"))
        self.assertEqual(self.lists(await self.imported()), {"created": 2})
        self.assertEqual((await self.shown(), await self.shown("B X")), (["carddav"], ["carddav"]))
        ada = (await self.contacts())["Ada X"]
        self.shelf.put("1", ADA, photo=Photo("m3", photo("green")))
        self.assertEqual(self.lists(await self.imported()), {})
        after = (await self.contacts())["Ada X"]
        self.assertEqual(await self.shown(), ["carddav"])
        self.assertNotEqual(after["pictures"], ada["pictures"])
        self.assertEqual(after["version"], ada["version"])
        self.shelf.put("1", ADA, photo=Photo("m3", photo("green")))
        await self.imported()
        self.assertEqual((await self.contacts())["Ada X"]["pictures"], after["pictures"])

    async def test_taken_away(self) -> None:
        """A photo that is gone there goes here; a picture that was uploaded here stays, and so does the contact."""
        self.shelf.put("1", ADA, photo=Photo("m1", photo("blue")))
        await self.imported()
        ada = (await self.contacts())["Ada X"]
        uploaded = await self.put("/v2/pictures", self.me, {"contactId": ada["id"], "base64": b64encode(photo("red")).decode()})
        self.assertEqual(uploaded.status, 200, uploaded.json)
        self.shelf.put("1", ADA)
        self.assertEqual(self.lists(await self.imported()), {})
        self.assertEqual(await self.shown(), ["interact"])
        self.assertEqual(self.sql("SELECT photo FROM external_contacts"), [(None,)])
        self.shelf.put("1", ADA, photo=Photo("m1", photo("blue")))
        await self.imported()
        self.assertEqual(await self.shown(), ["interact", "carddav"])

    async def test_not_to_be_had(self) -> None:
        """No picture, too large, away: the contact is there without."""
        self.shelf.put("1", ADA, photo=Photo("m1", b"what?"))
        self.shelf.put("2", somebody("B"), photo=Photo("m2", url="https://x/none"))
        self.shelf.put("3", somebody("C"), photo=Photo("m3", bytes(6 << 20)))
        self.assertEqual(self.lists(await self.imported()), {"created": 3})
        self.assertEqual([c["pictures"] for c in (await self.contacts()).values()], [[], [], []])


class Sockets(LiveCase):
    """What sockets hear of an import."""

    async def test_progress(self) -> None:
        """interactd.1 sockets of the user hear how far it is; plain ones and those of others do not."""
        shelf = Shelf()
        shelf.put("1", ADA)
        self.parts.app.imports.systems["carddav"] = lambda username, password: shelf
        tablet, other = self.device(self.me, "tablet"), self.person()
        self.device(other, "phone")
        mine, plain, theirs = await self.follow(), await self.listen(device="tablet"), await self.follow(who=other)
        reply = await self.post("/v2/import?cmd=importContacts", self.me, {"externalSystem": "carddav", "username": "me", "password": "x"})
        self.assertEqual(reply.status, 200)
        while (message := await mine.next()).get("progress", {}).get("phase") != "done":
            pass
        self.assertEqual((message["progress"]["created"], message["seq"]), (1, message["prev"]))
        for client in (plain, theirs):
            await client.settled()
            self.assertEqual([m for m in client.messages if "progress" in m], [], tablet)
