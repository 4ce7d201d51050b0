"""Erasing a person: nothing is left that says who it was, and no import brings the person back."""
from __future__ import annotations

from typing import Any

from interactd.auth.triggerkeys import KeyRingError, TriggerKeys
from tests.import_case import ImportCase, somebody

NUMBER, EMAIL, NAME = "+49 171 4445566", "canary.bird@example.org", "Canarius"
DIGITS = "1714445566"


class Erasing(ImportCase):
    """A user with a contact that came by an import, rang, and stands in notes, deals and tasks."""

    async def setUp(self) -> None:
        await super().setUp()
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})).entity["triggerToken"]
        await self.put("/v2/devices", self.me, {"deviceId": "laptop"})
        self.shelf.put("a", somebody(NAME, ("mobile", NUMBER), ("email", EMAIL), last="Bird"))
        self.shelf.put("b", somebody("Bea", ("phone", "+49 30 123456")))
        await self.imported()
        self.ident = self.found(NAME)
        self.other = self.found("Bea")

    def found(self, first: str) -> int:
        return int(self.sql("SELECT id FROM contacts WHERE first_name = %s", first)[0][0])

    async def live_a_little(self) -> None:
        """What a person leaves behind in a user's data."""
        contact = (await self.get(f"/v2/contacts/{self.ident}", self.me)).json
        await self.post(f"/v2/contacts/{self.ident}", self.me, {"version": contact["version"], "profession": "singer"})
        await self.post(f"/v2/basicInfos/{contact['basicInfos'][0]['id']}", self.me, {"identifier": NAME})
        await self.put("/v2/notes", self.me, {"message": f"{NAME} sings", "relatedTo": {"id": self.ident, "type": "contact"}})
        await self.put("/v2/deals", self.me, {"name": "seeds", "relatedTo": {"id": self.ident}})
        await self.put("/v2/tasks", self.me, {"title": "feed", "relatedTo": {"id": self.ident, "type": "contact"}})
        for data in (NUMBER, "+49 30 123456"):
            event = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": data})
            self.assertEqual(event.status, 201, event.json)

    def whole_database(self) -> str:
        """Every row of every table, as text."""
        tables = [row[0] for row in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return "\n".join(str(self.sql(f"SELECT t::text FROM {table} t")) for table in tables)

    async def erase(self, ident: int) -> Any:
        reply = await self.delete(f"/v2/contacts/{ident}?erase=1", self.me)
        self.assertEqual((reply.status, reply.json["code"]), (200, 204), reply.json)
        return reply.json["erased"]

    async def test_nothing_is_left(self) -> None:
        """No table holds the name, the number or the address; others' data stays; the answer counts."""
        await self.live_a_little()
        for canary in (NAME, DIGITS, EMAIL):
            self.assertIn(canary, self.whole_database())
        counts = await self.erase(self.ident)
        left = self.whole_database()
        for canary in (NAME, DIGITS, EMAIL, "singer"):
            self.assertNotIn(canary, left)
        self.assertEqual({what: n for what, n in counts.items() if what != "activities"},
                         {"pushes": 1, "basicInfos": 2, "interactions": 1, "importRows": 1})
        self.assertGreaterEqual(counts["activities"], 7)
        self.assertIn("Bea", left)
        self.assertEqual([row["entity"].get("newState", {}).get("data") for row in (await self.get("/v2/activities", self.me)).json["data"]
                          if row["entityType"] == "interaction"], ["+49 30 123456", None])
        self.assertEqual(self.sql("SELECT failed FROM deliveries ORDER BY interaction_id"), [("erased",), (None,)])
        self.refused(await self.get(f"/v2/contacts/{self.ident}", self.me), 404, 91040101001001)
        self.assertEqual(self.sql("SELECT entity_id FROM tombstones WHERE entity_type = 'contact'"), [(self.ident,)])

    async def test_events_stay_as_such(self) -> None:
        """An interaction keeps type and time, is a change for sync, and what a device that resumes is told says nothing."""
        await self.live_a_little()
        seq = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)[0][0]
        await self.erase(self.ident)
        ((kind, data, info, person, changed, notice),) = self.sql(
            "SELECT type, data, basic_info_id, person_id, seq, notice::json FROM interactions ORDER BY id LIMIT 1")
        self.assertEqual((kind, data, info, person), ("call-incoming", None, None, None))
        self.assertGreater(changed, seq)
        self.assertEqual(set(notice), {"type", "interactionId", "time", "seq"})

    async def test_not_brought_back(self) -> None:
        """By the same entry, one of the same mobile or address under another name, or of the same name and number: none is even kept waiting."""
        await self.erase(self.ident)
        self.shelf.put("a", somebody(NAME, ("mobile", NUMBER), last="Bird"))
        self.shelf.put("c", somebody("Other", ("mobile", "0171/4445566")))
        self.shelf.put("d", somebody("Another", ("email", EMAIL.upper())))
        self.shelf.put("e", somebody(NAME.upper(), ("phone", NUMBER), last="bird"))
        self.shelf.put("f", somebody("Colleague", ("phone", NUMBER)))
        told = await self.imported()
        self.assertEqual((len(told["created"]), told["failed"]), (1, []))
        self.assertEqual(self.sql("SELECT first_name FROM contacts ORDER BY id"), [("Bea",), ("Colleague",)])
        self.assertEqual(self.sql("SELECT count(*) FROM import_contacts"), [(0,)])

    async def test_by_hand_and_by_others(self) -> None:
        """The user may write the person down again; another user's import knows nothing of it."""
        await self.erase(self.ident)
        made = await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": NAME,
                                                        "basicInfos": [{"type": "mobile", "value": NUMBER}]})
        self.assertEqual(made.status, 201)
        self.me = self.person()
        self.assertEqual(len((await self.imported())["created"]), 2)

    async def test_those_who_wait(self) -> None:
        """An import contact with the same mobile goes too, and does not come back."""
        self.shelf.put("g", somebody("Twin", ("mobile", NUMBER)))
        self.assertEqual(len((await self.imported())["failed"]), 1)
        self.assertEqual((await self.erase(self.ident))["importRows"], 2)
        self.assertEqual((await self.imported())["failed"], [])

    async def test_merged(self) -> None:
        """What was merged into the person before is the person."""
        old = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": NAME, "lastName": "Old"})).entity
        contact = (await self.get(f"/v2/contacts/{self.ident}", self.me)).json
        merged = await self.post("/v2/contacts?cmd=merge", self.me, {
            "contactIds": [old["id"]], "contact": {"id": self.ident, "version": contact["version"]}})
        self.assertEqual(merged.status, 200, merged.json)
        await self.erase(self.ident)
        self.assertNotIn(NAME, self.whole_database())

    async def test_only_ones_own(self) -> None:
        """Somebody else's contact is not there; a plain deletion counts nothing."""
        other = self.person()
        self.refused(await self.delete(f"/v2/contacts/{self.ident}?erase=1", other), 404, 91040141001001)
        self.assertEqual((await self.delete(f"/v2/contacts/{self.ident}?erase=0", self.me)).json, {"code": 204, "devmsg": "success"})
        self.assertEqual(self.sql("SELECT count(*) FROM erased_people"), [(0,)])

    async def test_the_key_is_needed(self) -> None:
        """A start without the key by which erased people are known is refused, naming it."""
        await self.erase(self.ident)
        self.sql("DELETE FROM trigger_devices")
        ring = TriggerKeys(self.config.state.directory / "trigger-keys", {"other": b"x" * 32})
        ((key,),) = self.sql("SELECT DISTINCT key_id FROM erased_people")
        with self.assertRaises(KeyRingError) as refused:
            await ring.check(self.parts.app.database)
        self.assertIn(key, str(refused.exception))
