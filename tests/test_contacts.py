"""Contacts over HTTP: their life, their lists, their rules, their errors."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.api_case import ApiCase, Person, Reply

UNSET = {"connected": False}
NETWORKS = ("facebook", "aim", "gplus", "gtalk", "icq", "jabber", "linkedIn", "skype", "twitter", "xing")


class ContactCase(ApiCase):
    """One user, and short ways to make contacts."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person("me@example.org")

    async def make(self, who: Person | None = None, **body: Any) -> Any:
        """The entity of a new contact; a person called Ada unless said otherwise."""
        made = await self.put(
            "/v2/contacts", who or self.me, {"contactType": "person", **({} if "contactType" in body else {"firstName": "Ada"}), **body}
        )
        self.assertEqual(made.status, 201, made.json)
        return made.entity

    async def organization(self, name: str = "ACME", **body: Any) -> Any:
        """The entity of a new organization."""
        return await self.make(contactType="organization", organizationName=name, **body)

    async def update(self, contact: Any, **body: Any) -> Reply:
        """The answer to an update of the contact as it was read."""
        return await self.post("/v2/contacts/%d" % contact["id"], self.me, {"version": contact["version"], **body})

    async def changed(self, contact: Any, **body: Any) -> Any:
        """The entity after an update that is taken."""
        reply = await self.update(contact, **body)
        self.assertEqual(reply.status, 200, reply.json)
        return reply.entity

    async def read(self, contact: Any, projection: str = "base") -> Any:
        """The contact as it is now."""
        return (await self.get("/v2/contacts/%d?projection=%s" % (contact["id"], projection), self.me)).json

    def number(self, contact: Any) -> int:
        """The contact's change number, less the user's."""
        return int(self.sql("SELECT c.seq - n.seq FROM contacts c JOIN counters n USING (user_id) WHERE c.id = %s", contact["id"])[0][0])


class Life(ContactCase):
    """Creating, reading, updating, deleting."""

    async def test_a_person_as_created(self) -> None:
        """Everything that is always there is there, everything unset is not."""
        made = await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada", "lastName": "Lovelace", "gender": "f"})
        self.assertEqual((made.status, made.json["code"], made.json["devmsg"]), (201, 201, "success"))
        entity = dict(made.entity)
        self.assertEqual(entity.pop("created"), entity.pop("changed"))
        self.assertEqual(
            entity,
            {
                "id": entity["id"],
                "version": 1,
                "contactType": "person",
                "hot": False,
                "firstName": "Ada",
                "lastName": "Lovelace",
                "gender": "f",
                "displayName": "Ada Lovelace",
                "basicInfos": [],
                "addresses": [],
                "profiles": dict.fromkeys(NETWORKS, UNSET),
                "tags": [],
                "searchTerms": [],
                "customFields": [],
                "relatedTo": [],
                "pictures": [],
                "deals": [],
                "notes": [],
                "tasks": [],
                "interactions": [],
            },
        )
        self.assertEqual(await self.read(made.entity), made.entity)
        self.assertEqual((await self.get("/v2/contacts", self.me)).json, {"data": [made.entity]})

    async def test_an_organization_by_its_alias(self) -> None:
        """`name` is organizationName."""
        made = await self.put("/v2/contacts", self.me, {"contactType": "organization", "name": "TU Berlin", "business": "science"})
        self.assertEqual(
            (made.entity["organizationName"], made.entity["displayName"], made.entity["business"]), ("TU Berlin", "TU Berlin", "science")
        )

    async def test_display_names(self) -> None:
        """First, middle, last name, those present, by one blank."""
        for names, shown in (({"firstName": "A", "middleName": "B", "lastName": "C"}, "A B C"), ({"lastName": "C"}, "C"), ({"firstName": "A"}, "A")):
            made = await self.put("/v2/contacts", self.me, {"contactType": "person", **names})
            self.assertEqual(made.entity["displayName"], shown)

    async def test_update(self) -> None:
        """What is sent changes, null clears, the rest stays; the version rises by one; the activity holds both states."""
        made = await self.make(lastName="Byron", title="Ms", oneself=True)
        self.assertIs(made["oneself"], True)
        now = await self.changed(made, lastName="Lovelace", title=None, profession="", oneself=None)
        self.assertEqual((now["version"], now["displayName"]), (2, "Ada Lovelace"))
        self.assertFalse({"title", "profession", "oneself"} & now.keys())
        states = self.sql("SELECT action, old_state->>'lastName', new_state->>'lastName' FROM activities ORDER BY id")
        self.assertEqual(states, [("insert", None, "Byron"), ("update", "Byron", "Lovelace")])
        cleared = await self.changed(now, lastName=None)
        self.assertEqual(cleared["displayName"], "Ada ".rstrip())

    async def test_what_was_read_can_be_sent_back(self) -> None:
        """A whole contact with everything in it is a body that changes nothing but the version."""
        other = await self.organization()
        made = await self.make(
            basicInfos=[{"type": "phone", "value": "+4930123456"}],
            addresses=[{"city": "Berlin"}],
            tags=["a"],
            searchTerms=["b"],
            profiles={"xing": {"connected": True}},
            relatedTo=[other["id"]],
            hot=True,
        )
        now = await self.changed(made, **made)
        self.assertEqual({**now, "version": 1, "changed": 0}, {**made, "changed": 0})

    async def test_versions(self) -> None:
        """Missing: 400; stale: 409, with the seed's words; nothing is changed."""
        made = await self.make()
        await self.changed(made, hot=True)
        self.refused(await self.post("/v2/contacts/%d" % made["id"], self.me, {"hot": False}), 400, 92020111002001)
        stale = await self.update(made, hot=False)
        self.refused(stale, 409, 93040111006001)
        self.assertEqual(stale.json["devmsg"], "version conflict")
        self.assertIs((await self.read(made))["hot"], True)

    async def test_delete(self) -> None:
        """One and several; all or none; tombstones for the contact and its notes; what refers to it stays, numbered anew."""
        made, other = await self.make(basicInfos=[{"type": "phone", "value": "+4930123456"}]), await self.organization()
        await self.changed(made, relatedTo=[other["id"]])
        note = await self.put("/v2/notes", self.me, {"message": "x", "relatedTo": {"id": made["id"], "type": "contact"}})
        self.sql("INSERT INTO deals (user_id, name, contact_id, seq) VALUES (%s, 'd', %s, 0)", self.me.id, made["id"])
        self.sql(
            "INSERT INTO interactions (user_id, type, time, sort_time, person_id, basic_info_id, created_seq, seq) "
            "VALUES (%s, 'call-incoming', 1, 1, %s, %s, 0, 0)",
            self.me.id,
            made["id"],
            made["basicInfos"][0]["id"],
        )
        self.refused(await self.delete("/v2/contacts?ids=%d,4711" % made["id"], self.me), 404, 91040141001001)
        before = await self.read(other)
        gone = await self.delete("/v2/contacts/%d" % made["id"], self.me)
        self.assertEqual((gone.status, gone.json), (200, {"code": 204, "devmsg": "success"}))
        self.assertEqual(self.sql("SELECT entity_type, entity_id FROM tombstones ORDER BY 1"), [("contact", made["id"]), ("note", note.entity["id"])])
        seq = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)[0][0]
        self.assertEqual(self.sql("SELECT contact_id, seq FROM deals"), [(None, seq)])
        self.assertEqual(self.sql("SELECT person_id, basic_info_id, seq FROM interactions"), [(None, None, seq)])
        after = await self.read(other)
        self.assertEqual((after["relatedTo"], after["version"]), ([], before["version"] + 1))
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos"), [(0,)])
        self.assertEqual((await self.delete("/v2/contacts?ids=%d" % other["id"], self.me)).json["code"], 204)
        self.refused(await self.get("/v2/contacts/%d" % other["id"], self.me), 404, 91040101001001)

    async def test_paging(self) -> None:
        """Contacts are always in `data`; with offset or limit the sizes are said."""
        made = [await self.make(firstName=name) for name in "abc"]
        page = (await self.get("/v2/contacts?offset=1&limit=1", self.me)).json
        self.assertEqual(page, {"data": [made[1]], "length": 1, "startIndex": 1, "totalLength": 3})

    async def test_at_most_so_many(self) -> None:
        """A user's contacts are counted."""
        self.sql(
            "INSERT INTO contacts (user_id, contact_type, first_name, seq) SELECT %s, 'person', 'x', 0 FROM generate_series(1, 50000)", self.me.id
        )
        self.refused(await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "x"}), 400, 92010121002004)


class Names(ContactCase):
    """What a person and an organization must have, and must not."""

    async def test_missing(self) -> None:
        """Nobody without a type and a name."""
        for body in (
            {},
            {"contactType": "person"},
            {"contactType": "person", "firstName": "", "title": "Dr"},
            {"contactType": "organization"},
            {"firstName": "x"},
            {"contactType": "person", "hot": 5},
        ):
            self.refused(await self.put("/v2/contacts", self.me, body), 400, 92020121002001)
        self.refused(await self.put("/v2/contacts", self.me, {"contactType": "organization", "organizationName": ""}), 400, 92010121002002)

    async def test_of_the_other_type(self) -> None:
        """A person has no business, an organization no first name; the type never changes."""
        person, organization = {"contactType": "person", "firstName": "x"}, {"contactType": "organization", "organizationName": "x"}
        self.refused(await self.put("/v2/contacts", self.me, {**person, "business": "x"}), 400, 92010121002005)
        self.refused(await self.put("/v2/contacts", self.me, {**organization, "lastName": "x"}), 400, 92010121002005)
        made, firm = await self.make(), await self.organization()
        self.refused(await self.update(made, business="x"), 400, 92010111002005)
        self.refused(await self.update(firm, gender="m"), 400, 92010111002005)
        self.refused(await self.update(made, contactType="organization"), 400, 93000111006002)
        self.assertEqual((await self.changed(made, contactType="person", organizationName=None))["contactType"], "person")

    async def test_emptied(self) -> None:
        """A name can not be emptied; null clears one while the other stays."""
        made, firm = await self.make(), await self.organization()
        for name in ("firstName", "lastName"):
            self.refused(await self.update(made, **{name: ""}), 400, 92010111002002)
        self.refused(await self.update(made, firstName=None), 400, 92010111002002)
        self.refused(await self.update(firm, organizationName=None), 400, 92010111002002)
        self.refused(await self.update(firm, name=""), 400, 92010111002002)
        now = await self.changed(made, firstName=None, lastName="L")
        self.assertEqual(now["displayName"], "L")

    async def test_faults(self) -> None:
        """Each fault has its code."""
        body = {"contactType": "person", "firstName": "x"}
        self.refused(await self.put("/v2/contacts", None, body), 401, 94010121005001)
        for wrong, code in (
            ({"x": 1}, 92010121002005),
            ({"hot": "yes"}, 92010121002003),
            ({"gender": "x"}, 92010121002003),
            ({"title": "x" * 256}, 92010121002004),
            ({"tags": [""]}, 92010121002002),
            ({"tags": "x"}, 92010121002003),
            ({"basicInfos": [{"type": "phone", "value": "1", "x": 1}]}, 92010121002005),
            ({"basicInfos": [{"value": "1"}]}, 92020121002001),
            ({"basicInfos": [{"type": "phone", "value": ""}]}, 92010121002002),
            ({"basicInfos": [{"type": "fon", "value": "1"}]}, 92010121002003),
            ({"profiles": {"myspace": {}}}, 92010121002005),
            ({"profiles": {"xing": {"name": "x"}}}, 92010121002005),
            ({"profiles": {"xing": {"connected": 1}}}, 92010121002003),
            ({"profiles": []}, 92010121002003),
            ({"customFields": [{"value": "x"}]}, 92020121002001),
            ({"customFields": [{"id": 1, "value": "x"}]}, 91000121003003),
            ({"addresses": [{"id": 77}]}, 91010121003003),
            ({"basicInfos": [{"id": 77}]}, 91020121003003),
            ({"relatedTo": [77]}, 91040121003003),
            ({"basicInfos": [{"id": 2**63}]}, 92010121002004),
            ({"tags": ["%d" % n for n in range(201)]}, 92010121002004),
        ):
            self.refused(await self.put("/v2/contacts", self.me, {**body, **wrong}), 400 if code // 10**12 == 92 else 404, code)
        self.assertEqual(self.sql("SELECT count(*) FROM contacts"), [(0,)])
        self.refused(await self.get("/v2/contacts?projection=fat", self.me), 400, 92010101002003)
        self.refused(await self.get("/v2/contacts?thin=1", self.me), 400, 92010101002005)
        self.refused(await self.post("/v2/contacts/77", self.me, {"version": 1}), 404, 91040111001001)

    async def test_of_somebody_else(self) -> None:
        """What is not yours is not there."""
        stranger = self.person()
        made = await self.make()
        path = "/v2/contacts/%d" % made["id"]
        self.refused(await self.get(path, stranger), 404, 91040101001001)
        self.refused(await self.post(path, stranger, {"version": 1, "hot": True}), 404, 91040111001001)
        self.refused(await self.delete(path, stranger), 404, 91040141001001)
        self.refused(
            await self.put("/v2/contacts", stranger, {"contactType": "organization", "name": "x", "relatedTo": [made["id"]]}), 404, 91040121003003
        )
        self.assertEqual(await self.read(made), made)


class Rivals(ContactCase):
    """Writers at the same time."""

    async def both(self, *asked: Coroutine[Deferred[Any], Any, Reply]) -> list[Reply]:
        """The answers to requests sent at once."""
        return list(await gatherResults([Deferred.fromCoroutine(one) for one in asked]))

    async def test_one_version(self) -> None:
        """Of several updates of one version one is taken, the others conflict."""
        made = await self.make()
        replies = await self.both(*(self.update(made, title=str(n)) for n in range(5)))
        self.assertEqual(sorted(r.status for r in replies), [200, 409, 409, 409, 409])
        (taken,) = [r.entity for r in replies if r.status == 200]
        self.assertEqual(await self.read(made), taken)

    async def test_one_value(self) -> None:
        """A value kept by several at once is one."""
        replies = await self.both(*(self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 12345"}) for _ in range(5)))
        self.assertEqual({(r.status, r.entity["id"]) for r in replies}, {(201, replies[0].entity["id"])})

    async def test_one_assignment(self) -> None:
        """An unassigned basicInfo goes to one contact only."""
        kept = (await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 12345"})).entity["id"]
        body = {"contactType": "person", "firstName": "x", "basicInfos": [{"id": kept}]}
        replies = await self.both(*(self.put("/v2/contacts", self.me, body) for _ in range(4)))
        self.assertEqual(sorted(r.status for r in replies), [201, 400, 400, 400])
        self.assertEqual({r.json["error"] for r in replies if r.status == 400}, {93010121006002})

    async def test_numbers(self) -> None:
        """Each change has a number of its own, and the numbers leave no gap."""
        before = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)[0][0]
        await self.both(*(self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": str(n)}) for n in range(20)))
        self.assertEqual([row[0] - before for row in self.sql("SELECT seq FROM contacts ORDER BY seq")], list(range(1, 21)))
