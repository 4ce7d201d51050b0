"""The activity log over HTTP."""
from __future__ import annotations

from tests.api_case import ApiCase


class Activities(ApiCase):
    """One's own, and the company's."""

    async def setUp(self) -> None:
        await super().setUp()
        company = self.company()
        self.me, self.admin = self.person(company=company), self.person(company=company, roles=("customer_admin",))

    async def test_own(self) -> None:
        """Newest first, always in `data`, with both states of an update; paged when asked; nobody else's."""
        made = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity
        changed = (await self.post("/v2/contacts/%d" % made["id"], self.me, {"version": 1, "firstName": "Eva"})).entity
        await self.delete("/v2/contacts/%d" % made["id"], self.me)
        log = (await self.get("/v2/activities", self.me)).json["data"]
        me = {"id": self.me.id, "displayName": self.me.email}
        self.assertEqual([(a["action"], a["entityType"], a["relatedTo"]) for a in log],
                         [(action, "contact", me) for action in ("delete", "update", "insert")])
        self.assertEqual([a["entity"] for a in log], [{"id": made["id"], "oldState": changed},
                                                      {"id": made["id"], "oldState": made, "newState": changed},
                                                      {"id": made["id"], "newState": made}])
        self.assertGreaterEqual(log[0]["time"], log[2]["time"])
        page = (await self.get("/v2/activities?offset=1&limit=5", self.me)).json
        self.assertEqual(page, {"data": log[1:], "length": 2, "startIndex": 1, "totalLength": 3})
        self.assertEqual((await self.get("/v2/activities", self.admin)).json, {"data": []})

    async def test_company(self) -> None:
        """An administrator sees what was done in the company; states only of users, groups, roles, custom fields."""
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity
        group = (await self.put("/v2/admin/groups", self.admin, {"name": "sales"})).entity
        await self.put("/v2/contacts", self.person(company=self.company()), {"contactType": "person", "firstName": "Else"})
        log = (await self.get("/v2/activities?of=company", self.admin)).json["data"]
        self.assertEqual([(a["entityType"], a["action"]) for a in log], [("group", "insert"), ("contact", "insert")])
        self.assertEqual(log[0]["entity"], {"id": group["id"], "newState": group})
        self.assertEqual((log[1]["entity"], log[1]["relatedTo"]["id"]), ({"id": contact["id"]}, self.me.id))

    async def test_faults(self) -> None:
        """The company's log takes an administrator of a company."""
        self.refused(await self.get("/v2/activities"), 401, 94010100005001)
        self.refused(await self.get("/v2/activities?of=company", self.me), 403, 94020100004004)
        self.refused(await self.get("/v2/activities?of=company", self.person(roles=("interact_admin",))), 403, 94020100004004)
        self.refused(await self.get("/v2/activities?of=world", self.admin), 400, 92010100002003)
        self.refused(await self.get("/v2/activities?from=1", self.admin), 400, 92010100002005)
