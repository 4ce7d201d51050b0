"""What bodies and commands are refused for, beyond what every call refuses (contract section 3)."""
from __future__ import annotations

from tests.api_case import ApiCase


class Bodies(ApiCase):
    """One user."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()

    async def test_keys_inside_references(self) -> None:
        """What answers show beside an id may be sent back; any other key is unknown, and all of them are named before other faults."""
        ada = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        shown = {"id": ada, "type": "contact", "displayName": "Ada", "name": "Ada"}
        for path, body, code in (("/v2/notes", {"message": "m"}, 92010124002005), ("/v2/deals", {"name": "d"}, 92010122002005),
                                 ("/v2/tasks", {"title": "t"}, 92010123002005)):
            self.assertEqual((await self.put(path, self.me, {**body, "relatedTo": shown})).status, 201, path)
            wrong = await self.put(path, self.me, {**body, "relatedTo": {**shown, "b": 1, "a": 2}, "hot": 5})
            self.refused(wrong, 400, code)
            self.assertLess({"relatedTo.a", "relatedTo.b"}, {d["attribute"] for d in wrong.json["details"]})
        wrong = await self.put("/v2/tasks", self.me, {"title": "t", "assignedTo": {"id": self.me.id, "email": "x"}})
        self.refused(wrong, 400, 92010123002005)

    async def test_a_name_that_is_too_long(self) -> None:
        """It is too long, and not missing."""
        for body in ({"contactType": "person", "lastName": "x" * 256}, {"contactType": "organization", "organizationName": "x" * 256}):
            wrong = await self.put("/v2/contacts", self.me, body)
            self.refused(wrong, 400, 92010121002004)
            self.assertEqual(len(wrong.json["details"]), 1)

    async def test_commands(self) -> None:
        """A `cmd` that is missing or unknown has the action and realm of the path's documented commands."""
        boss = self.person(company=self.company(), roles=("customer_admin",))
        user = "/v2/admin/users/%d" % boss.id
        for verb, path, place in (("POST", "/v2/contacts", "013100"), ("POST", "/v2/import", "015111"), ("GET", "/v2/cleanup", "010090"),
                                  ("POST", "/v2/myAccount", "011750"), ("POST", user + "/roles", "011702"), ("POST", user + "/groups", "011704")):
            self.refused(await self.ask(verb, path, boss, None), 400, int(f"9202{place}2001"))
            self.refused(await self.ask(verb, path + "?cmd=dance", boss, None), 400, int(f"9201{place}2005"))
        self.refused(await self.post("/v2/contacts/1?cmd=dance", boss, {}), 400, 92010161002005)
        self.refused(await self.post(user + "?cmd=dance", boss, {}), 400, 92010227032005)


class Companies(ApiCase):
    """Whose a group or a custom field is: said once, or one's own (contract section 4)."""

    async def test_company(self) -> None:
        """It defaults to one's own, may be sent back, and never changes."""
        here, there = self.company(), self.company()
        boss, root = self.person(company=here, roles=("customer_admin",)), self.person(roles=("interact_admin",))
        for path, realm, body in (("/v2/admin/groups", 704, {"name": "g"}),
                                  ("/v2/admin/customFields", 705, {"name": "f", "dataType": "varchar", "entityType": "contact"})):
            made = (await self.put(path, boss, body)).entity
            self.assertEqual(made["companyId"], here)
            one = f"{path}/{made['id']}"
            self.assertEqual((await self.post(one, boss, {**made, "name": "n"})).entity, {**made, "name": "n"})
            for companyId in (there, None):
                self.refused(await self.post(one, root, {"companyId": companyId}), 400, int(f"9300011{realm}6002"))
            self.refused(await self.post(one, boss, {"companyId": there}), 403, int(f"9402011{realm}4003"))
            self.refused(await self.put(path, boss, {**body, "companyId": there}), 403, int(f"9402012{realm}4003"))
            self.refused(await self.put(path, root, body), 400, int(f"9202012{realm}2001"))
            self.assertEqual((await self.put(path, root, {**body, "companyId": there})).entity["companyId"], there)
            self.refused(await self.put(path, root, {**body, "companyId": 4711}), 404, int(f"9103012{realm}3003"))
