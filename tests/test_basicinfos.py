"""basicInfos by themselves: kept, updated, compared by their form."""

from __future__ import annotations

from tests.test_contacts import ContactCase


class BasicInfos(ContactCase):
    """PUT and POST /v2/basicInfos."""

    async def test_keep_an_excluded_number(self) -> None:
        """The seed's example: a number without contact, excluded."""
        made = await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "+491774528462", "excluded": True})
        self.assertEqual((made.status, made.json["code"], made.json["devmsg"]), (201, 201, "success"))
        self.assertEqual(made.entity, {"id": made.entity["id"], "type": "phone", "subtype": "other", "value": "+491774528462", "excluded": True})
        self.assertEqual(self.sql("SELECT user_id, contact_id, canon FROM basic_infos"), [(self.me.id, None, "+491774528462")])
        self.assertEqual(self.sql("SELECT action, entity_type, entity_id FROM activities"), [("insert", "basicInfo", made.entity["id"])])

    async def test_of_a_kept_value(self) -> None:
        """The same number in another spelling updates the one there is, and says what events it kept away."""
        made = await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "+491774528462", "subtype": "work", "excluded": True})
        self.sql("UPDATE basic_infos SET excluded_count = 3, last_excluded = 17")
        again = await self.put("/v2/basicInfos", self.me, {"type": "mobile", "value": "0177 4528462"})
        self.assertEqual(
            (again.status, again.entity), (201, {**made.entity, "type": "mobile", "value": "0177 4528462", "excludedCount": 3, "lastExcluded": 17})
        )
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos"), [(1,)])
        self.assertEqual([r[0] for r in self.sql("SELECT action FROM activities ORDER BY id")], ["insert", "update"])
        for _ in range(2):
            await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "no number"})
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos"), [(2,)])
        await self.put("/v2/basicInfos", self.person(), {"type": "phone", "value": "+491774528462"})
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos"), [(3,)])

    async def test_update(self) -> None:
        """The form follows the value; the contact changes and its version rises."""
        contact = await self.make(basicInfos=[{"type": "phone", "value": "030 1"}])
        path = "/v2/basicInfos/%d" % contact["basicInfos"][0]["id"]
        now = await self.post(path, self.me, {"value": "+493029352225", "subtype": "work", "excluded": True})
        self.assertEqual((now.status, now.entity), (200, {**contact["basicInfos"][0], "value": "+493029352225", "subtype": "work", "excluded": True}))
        after = await self.read(contact)
        self.assertEqual((after["version"], after["basicInfos"]), (2, [now.entity]))
        self.assertEqual((self.number(contact), self.sql("SELECT canon FROM basic_infos")), (0, [("+493029352225",)]))
        await self.post(path, self.me, {"type": "email"})
        self.assertEqual(self.sql("SELECT canon, type FROM basic_infos"), [(None, "email")])
        await self.post(path, self.me, {"value": "A@example.org"})
        self.assertEqual(self.sql("SELECT canon FROM basic_infos"), [("a@example.org",)])

    async def test_faults(self) -> None:
        """Each fault has its code; two unassigned ones of one value can not be."""
        first = await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 11"})
        second = await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 12"})
        path = "/v2/basicInfos/%d" % second.entity["id"]
        for wrong, code in (
            ({"type": "phone"}, 92020128002001),
            ({"type": "fon", "value": "1"}, 92010128002003),
            ({"type": "phone", "value": ""}, 92010128002002),
            ({"type": "phone", "value": "1", "contactId": 1}, 92010128002005),
            ({"type": "phone", "value": "1" * 256}, 92010128002004),
        ):
            self.refused(await self.put("/v2/basicInfos", self.me, wrong), 400, code)
        self.refused(await self.post(path, self.me, {"value": ""}), 400, 92010118002002)
        self.refused(await self.post(path, self.me, {"excluded": 1}), 400, 92010118002003)
        self.refused(await self.post(path, self.me, {"value": "+493011"}), 409, 93000118006002)
        self.refused(await self.post(path, self.person(), {"excluded": True}), 404, 91020118001001)
        self.refused(await self.post("/v2/basicInfos/4711", self.me, {"excluded": True}), 404, 91020118001001)
        self.refused(await self.put("/v2/basicInfos", None, {}), 401, 94010128005001)
        self.assertEqual(self.sql("SELECT id, value FROM basic_infos ORDER BY id"), [(first.entity["id"], "030 11"), (second.entity["id"], "030 12")])
