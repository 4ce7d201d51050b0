"""The numbers of a company's own phones: who says them, how they are compared, and that no event matches anybody by them."""
from __future__ import annotations

from typing import Any

from interactd.jobs.numbers import renew_lines
from tests.api_case import ApiCase, Reply


class Lines(ApiCase):
    """A company with its administrator, and a user who has a contact with one of the numbers."""

    async def setUp(self) -> None:
        await super().setUp()
        self.root = self.person(roles=("interact_admin",))
        self.acme = self.company()
        self.admin, self.ann = self.person(company=self.acme, roles=("customer_admin",)), self.person(company=self.acme)
        self.stranger = self.person(company=self.company("Other"), roles=("customer_admin",))
        self.path = f"/v2/admin/companies/{self.acme}"
        self.trigger = (await self.put("/v2/triggerDevices", self.ann, {"deviceId": "phone"})).entity["triggerToken"]
        await self.put("/v2/contacts", self.ann, {"contactType": "person", "firstName": "Bea",
                                                  "basicInfos": [{"type": "phone", "value": "+49 2332 667998"}]})

    async def set_lines(self, lines: Any, who: Any = None, **more: Any) -> Reply:
        return await self.post(self.path, who or self.admin, {"lines": lines, **more})

    async def matched(self, data: str) -> bool:
        """Whether an event with this number is somebody's."""
        event = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": data})
        self.assertEqual(event.status, 201, event.json)
        return "person" in event.entity

    async def test_set_and_heeded(self) -> None:
        """Once a line is the company's, an event with it is nobody's, in any spelling; when it is none any more, it is Bea's again."""
        self.assertTrue(await self.matched("02332 667998"))
        changed = await self.set_lines(["(02332) 66 79 98", "030 123456", "+492332667998"])
        self.assertEqual((changed.status, changed.entity["lines"]), (200, ["(02332) 66 79 98", "030 123456"]), changed.json)
        self.assertEqual((await self.get(self.path, self.root)).json["lines"], ["(02332) 66 79 98", "030 123456"])
        self.assertFalse(await self.matched("0049 2332 667998"))
        self.assertEqual((await self.post(self.path, self.admin, {"areaCode": "030"})).entity["lines"], changed.entity["lines"])
        self.assertEqual((await self.set_lines([])).entity["lines"], [])
        self.assertTrue(await self.matched("+492332667998"))

    async def test_read_as_the_company_reads_numbers(self) -> None:
        """By region and area code, those of the same body first; they follow when those change."""
        await self.set_lines(["667998"], areaCode="2332")
        self.assertFalse(await self.matched("+49 2332 667998"))
        await self.post(self.path, self.admin, {"areaCode": "30"})
        await renew_lines(self.parts.app.database, self.config)
        self.assertTrue(await self.matched("+49 2332 667998"))
        self.assertEqual(self.sql("SELECT value, canon FROM company_lines"), [("667998", "+4930667998")])

    async def test_lines_that_become_one(self) -> None:
        """By a change of the area code."""
        await self.set_lines(["+49 30 667998", "667998"], areaCode="2332")
        self.sql("UPDATE companies SET area_code = '30'")
        await renew_lines(self.parts.app.database, self.config)
        self.assertEqual(self.sql("SELECT canon FROM company_lines"), [("+4930667998",)])

    async def test_who_may(self) -> None:
        """The company's own administrator, but not its name; no user, nobody else's administrator."""
        self.refused(await self.set_lines([], self.ann), 403, 94020117014004)
        self.refused(await self.set_lines([], self.stranger), 404, 91030117011001)
        self.refused(await self.set_lines([], name="Mine"), 403, 94020117014004)
        self.assertEqual((await self.set_lines([], self.root, name="Theirs")).entity["name"], "Theirs")
        made = await self.put("/v2/admin/companies", self.root, {"name": "New", "region": "AT", "areaCode": "1", "lines": ["234567"]})
        self.assertEqual(made.entity["lines"], ["234567"])
        self.assertEqual(self.sql("SELECT canon FROM company_lines"), [("+431234567",)])

    async def test_faults(self) -> None:
        """What is no number, no region, no area code, or too much of it."""
        wrong = await self.set_lines(["030 123456", "anonymous"])
        self.refused(wrong, 400, 92010117012003)
        self.assertEqual(wrong.json["details"], [{"attribute": "lines[1]", "problem": "must be a phone number"}])
        self.refused(await self.set_lines("030 123456"), 400, 92010117012003)
        self.refused(await self.set_lines([f"030 {n}" for n in range(201)]), 400, 92010117012004)
        for change in ({"region": "XX"}, {"region": "de"}, {"areaCode": "30-"}):
            self.refused(await self.post(self.path, self.admin, change), 400, 92010117012003)
        self.assertEqual(self.sql("SELECT count(*) FROM company_lines"), [(0,)])
