"""Contacts and events: whoever is written, merged, shared or deleted is whom the next event finds."""

from __future__ import annotations

from typing import Any

from tests.test_contacts import ContactCase

NUMBER = {"type": "phone", "value": "030 123456"}


class Events(ContactCase):
    """One user with a trigger device."""

    async def setUp(self) -> None:
        await super().setUp()
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})).entity["triggerToken"]

    async def event(self, data: str = "+49 30 123456", trigger: str = "") -> Any:
        """The answer to an event."""
        reply = await self.put("/v2/interactions", trigger or self.trigger, {"type": "call-incoming", "data": data})
        self.assertEqual(reply.status, 201, reply.json)
        return reply

    async def whom(self) -> int | None:
        """The person that an event finds now."""
        person = (await self.event()).entity.get("person")
        return None if person is None else int(person["id"])

    async def test_becoming_known(self) -> None:
        """An unknown caller leaves one basicInfo; the contact that comes with the value takes it over, with its events."""
        first = (await self.event()).entity
        self.assertIsNone(await self.whom())
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos"), [(1,)])
        made = await self.make(basicInfos=[NUMBER])
        self.assertEqual(made["basicInfos"][0]["id"], first["basicInfoId"])
        self.assertEqual(await self.whom(), made["id"])

    async def test_a_matched_event_is_a_change(self) -> None:
        """Of the contact, for sync; not of its version."""
        made = await self.make(basicInfos=[NUMBER])
        stored = (await self.event()).entity
        now = await self.read(made)
        self.assertEqual((now["interactions"], now["version"], self.number(made)), ([stored["id"]], 1, 0))
        await self.event("+49 40 999999")
        self.assertEqual(self.number(made), -1)

    async def test_changing_numbers(self) -> None:
        """The next event goes by what the contact has now."""
        made = await self.make(basicInfos=[NUMBER])
        info = made["basicInfos"][0]["id"]
        await self.post("/v2/basicInfos/%d" % info, self.me, {"value": "030 654321"})
        self.assertIsNone(await self.whom())
        now = await self.changed(await self.read(made), basicInfos=[{"id": info, "value": "0049 30 123456"}])
        self.assertEqual(await self.whom(), made["id"])
        await self.delete("/v2/contacts/%d" % now["id"], self.me)
        self.assertIsNone(await self.whom())

    async def test_excluded(self) -> None:
        """An excluded number is kept away and counted, whether a contact has it or not."""
        await self.put("/v2/basicInfos", self.me, {**NUMBER, "excluded": True})
        self.assertEqual((await self.event()).json["devmsg"], "excluded")
        made = await self.make(basicInfos=[NUMBER])
        self.assertIs(made["basicInfos"][0]["excluded"], True)
        self.assertEqual((await self.event()).json["devmsg"], "excluded")
        let = await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 999999"})
        self.assertNotIn("excludedCount", let.entity)
        seen = await self.post("/v2/basicInfos/%d" % made["basicInfos"][0]["id"], self.me, {"excluded": False})
        self.assertEqual(seen.entity["excludedCount"], 2)
        self.assertEqual(await self.whom(), made["id"])

    async def test_merged(self) -> None:
        """Two with one number are both guessed; merged they are one, with the events of both."""
        ada, twin = await self.make(basicInfos=[NUMBER]), await self.make(firstName="A.", basicInfos=[NUMBER])
        self.assertIsNone(await self.whom())
        reply = await self.post("/v2/contacts?cmd=merge", self.me, {"contactIds": [twin["id"]], "contact": {"id": ada["id"], "version": 1}})
        self.assertEqual(reply.status, 200, reply.json)
        self.assertEqual(await self.whom(), ada["id"])

    async def test_shared(self) -> None:
        """The sharer's copy is found from now on, and holds the events there were; a colleague's copy is found by the colleague."""
        firm = self.company()
        colleague = self.person(company=firm)
        group = self.sql("INSERT INTO groups (company_id, name) VALUES (%s, 'g') RETURNING id", firm)[0][0]
        self.sql("INSERT INTO group_members VALUES (%s, %s, %s)", firm, group, colleague.id)
        self.me = self.person("me@firm.example", firm)
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})).entity["triggerToken"]
        theirs = (await self.put("/v2/triggerDevices", colleague, {"deviceId": "phone"})).entity["triggerToken"]
        made = await self.make(basicInfos=[NUMBER])
        before = (await self.event()).entity
        copy = (await self.post("/v2/contacts/%d?cmd=share&groups=%d" % (made["id"], group), self.me, {})).entity
        self.assertEqual(copy["interactions"], [before["id"]])
        self.assertEqual((await self.get("/v2/interactions/%d" % before["id"], self.me)).json["person"]["id"], copy["id"])
        self.assertEqual(await self.whom(), copy["id"])
        found = (await self.event(trigger=theirs)).entity["person"]["id"]
        self.assertEqual(self.sql("SELECT user_id, origin FROM contacts WHERE id = %s", found), [(colleague.id, made["id"])])
