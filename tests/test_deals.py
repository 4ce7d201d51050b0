"""Deals over HTTP."""
from __future__ import annotations

from tests.api_case import ApiCase


class Deals(ApiCase):
    """The calls."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()
        made = await self.put("/v2/contacts", self.me, {"contactType": "organization", "organizationName": "ACME"})
        self.contact = made.entity["id"]

    async def test_life(self) -> None:
        """Created, read, listed (under its contact, too), changed and deleted."""
        body = {"name": "Apples", "value": 100000, "currency": "USD", "hot": True, "relatedTo": {"id": self.contact}, "source": "word_of_mouth"}
        made = await self.put("/v2/deals", self.me, body)
        shown = {**body, "id": made.entity["id"], "stage": "incoming", "relatedTo": {"id": self.contact, "name": "ACME"}}
        self.assertEqual((made.status, made.entity), (201, shown))
        path = "/v2/deals/%d" % shown["id"]
        for one in (path, path.replace("deals", "deal")):
            self.assertEqual((await self.get(one, self.me)).json, shown)
        for many in ("/v2/deals", "/v2/contacts/%d/deals" % self.contact):
            self.assertEqual((await self.get(many, self.me)).json, [shown])
        changed = await self.post(path, self.me, {**shown, "stage": "won", "relatedTo": None, "currency": None})
        self.assertEqual((changed.status, changed.entity),
                         (200, {k: v for k, v in {**shown, "stage": "won"}.items() if k not in ("relatedTo", "currency")}))
        self.assertEqual((await self.get("/v2/contacts/%d/deals" % self.contact, self.me)).json, [])
        self.assertEqual((await self.delete(path, self.me)).json, {"code": 204, "devmsg": "success"})
        self.assertEqual(self.sql("SELECT entity_type, entity_id FROM tombstones"), [("deal", shown["id"])])
        self.assertEqual(self.sql("SELECT string_agg(action, ' ' ORDER BY id) FROM activities WHERE entity_type = 'deal'")[0][0],
                         "insert update delete")

    async def test_notes_go_and_tasks_stay(self) -> None:
        """A deleted deal takes its notes along; a task of it stays without it."""
        ids = [(await self.put("/v2/deals", self.me, {"name": name})).entity["id"] for name in "ab"]
        related = {"relatedTo": {"id": ids[0], "type": "deal"}}
        note = (await self.put("/v2/notes", self.me, {"message": "x", **related})).entity
        task = (await self.put("/v2/tasks", self.me, {"title": "x", **related})).entity
        self.assertEqual(task["relatedTo"], {"id": ids[0], "type": "deal", "displayName": "a"})
        self.assertEqual((await self.delete("/v2/deals?ids=%d,%d" % tuple(ids), self.me)).status, 200)
        self.assertEqual((await self.get("/v2/notes", self.me)).json, [])
        self.assertNotIn("relatedTo", (await self.get("/v2/tasks/%d" % task["id"], self.me)).json)
        self.assertEqual(sorted(self.sql("SELECT entity_type, entity_id FROM tombstones")),
                         sorted([("deal", ids[0]), ("deal", ids[1]), ("note", note["id"])]))

    async def test_faults(self) -> None:
        """Each fault has its own code."""
        self.refused(await self.put("/v2/deals", self.me, {}), 400, 92020122002001)
        self.refused(await self.put("/v2/deals", self.me, {"name": ""}), 400, 92010122002002)
        self.refused(await self.put("/v2/deals", self.me, {"name": "x", "currency": "XYZ"}), 400, 92010122002003)
        self.refused(await self.put("/v2/deals", self.me, {"name": "x", "stage": "far"}), 400, 92010122002003)
        self.refused(await self.put("/v2/deals", self.me, {"name": "x", "value": 2**53}), 400, 92010122002004)
        self.refused(await self.put("/v2/deals", self.me, {"name": "x", "price": 1}), 400, 92010122002005)
        self.refused(await self.put("/v2/deals", self.person(), {"name": "x", "relatedTo": {"id": self.contact}}), 404, 91040122003003)
        mine = (await self.put("/v2/deals", self.me, {"name": "x"})).entity["id"]
        for path in ("/v2/deals/%d" % mine, "/v2/deal/%d" % mine):
            self.refused(await self.get(path, self.person()), 404, 91070102001001)
            self.refused(await self.post(path, self.person(), {"name": "y"}), 404, 91070112001001)
            self.refused(await self.delete(path, self.person()), 404, 91070142001001)
        self.refused(await self.delete("/v2/deals?ids=%d,999" % mine, self.me), 404, 91070142001001)
        self.assertEqual((await self.get("/v2/deals/%d" % mine, self.me)).json["name"], "x")
