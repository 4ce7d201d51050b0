"""Accounts: login, companies, users, roles, groups, custom fields, wiping; who may what, with the exact codes."""
from __future__ import annotations

from tests.api_case import ApiCase


class Accounts(ApiCase):
    """Two companies, their administrators, and the administrator of all."""

    async def setUp(self) -> None:
        await super().setUp()
        self.root = self.person("root@example.org", roles=("interact_admin",))
        self.acme, self.other = self.company("ACME"), self.company("Other")
        self.admin = self.person("admin@acme.example", self.acme, ("customer_admin",))
        self.user = self.person("user@acme.example", self.acme)
        self.stranger = self.person("stranger@other.example", self.other, ("customer_admin",))

    async def test_login_and_logout(self) -> None:
        """A created user logs in, uses the token, logs out; then the token is dead."""
        made = await self.put("/v2/admin/users", self.admin, {"email": "New@acme.example", "password": "secret1"})
        self.assertEqual((made.status, made.entity["companyId"], made.entity["roles"]), (201, self.acme, ["user"]), made.json)
        self.assertNotIn("password", made.entity)
        login = await self.post("/v2/login", None, {"username": "new@ACME.example", "password": "secret1", "scope": "device app"})
        self.assertEqual((login.status, login.json["user"]["id"]), (200, made.entity["id"]), login.json)
        token = login.json["token"]["authToken"]
        self.assertEqual((await self.get("/v2/notes", None, Authorization="Bearer " + token)).status, 200)
        self.assertEqual((await self.post("/v2/logout", None, {"authToken": token})).json, {"code": 200, "devmsg": "success"})
        self.refused(await self.get("/v2/notes", None, authToken=token), 401, 94010104005002)
        self.refused(await self.post("/v2/logout", None, {"authToken": token}), 400, 92010210405002)
        self.refused(await self.post("/v2/logout", None, {}), 400, 92020210402001)
        wrong = {"username": "new@acme.example", "password": "wrong", "scope": "csr"}
        self.refused(await self.post("/v2/login", None, wrong), 401, 94010200405003)
        self.refused(await self.post("/v2/login", None, {**wrong, "username": "nobody@example.org"}), 401, 94010200405003)

    async def test_two_tokens(self) -> None:
        """Two different tokens in one request are refused."""
        reply = await self.get("/v2/notes", self.user, Authorization="Bearer x")
        self.assertEqual(reply.status, 400)

    async def test_users(self) -> None:
        """Read, update, delete by the own administrator; not there for another company's."""
        path = "/v2/admin/users/%d" % self.user.id
        self.assertEqual((await self.get(path, self.admin)).json["email"], "user@acme.example")
        self.refused(await self.get(path, self.stranger), 404, 91170107031001)
        self.refused(await self.get(path, self.user), 403, 94020107034004)
        changed = await self.post(path, self.admin, {"email": "u2@acme.example"})
        self.assertEqual((changed.status, changed.entity["email"]), (200, "u2@acme.example"))
        self.refused(await self.get("/v2/notes", self.user), 401, 94010104005002)
        self.refused(await self.post(path, self.admin, {"email": "ADMIN@acme.example"}), 409, 93030117036002)
        self.refused(await self.post(path, self.admin, {"companyId": self.other}), 403, 94020117034003)
        self.refused(await self.post(path, self.root, {"companyId": self.other}), 400, 93000117036002)
        self.refused(await self.post(path, self.admin, {"password": "x"}), 400, 92010117032004)
        self.assertEqual(len((await self.get("/v2/admin/users", self.admin)).json), 2)
        self.assertEqual((await self.delete(path, self.admin)).json["code"], 204)
        self.refused(await self.delete(path, self.admin), 404, 91170147031001)

    async def test_rank(self) -> None:
        """Nobody touches a user above the own role, nor gives a role above it; the last administrator of all stays."""
        boss = self.person("boss@acme.example", self.acme, ("interact_admin",))
        self.refused(await self.post("/v2/admin/users/%d" % boss.id, self.admin, {"active": False}), 403, 94020117034004)
        self.refused(await self.delete("/v2/admin/users/%d" % boss.id, self.admin), 403, 94020147034004)
        self.refused(await self.post("/v2/admin/users/%d?cmd=wipeAccount" % boss.id, self.admin), 403, 94020227034004)
        roles = "/v2/admin/users/%d/roles" % self.user.id
        self.refused(await self.post(roles + "?cmd=add", self.admin, ["interact_admin"]), 403, 94020117024004)
        self.refused(await self.post(roles + "?cmd=add", self.admin, ["king"]), 404, 91130117023003)
        self.refused(await self.post(roles, self.admin, []), 400, 92020117022001)
        self.refused(await self.post(roles + "?cmd=make", self.admin, []), 400, 92010117022005)
        given = await self.post(roles + "?cmd=add", self.admin, ["customer_admin"])
        self.assertEqual((given.status, given.json["roles"]), (200, ["customer_admin"]))
        self.assertEqual((await self.get("/v2/admin/users", self.user)).status, 200)
        self.assertEqual((await self.delete("/v2/admin/users/%d" % boss.id, self.root)).status, 200)
        self.refused(await self.delete("/v2/admin/users/%d" % self.root.id, self.root), 403, 94020147034004)
        self.refused(await self.post("/v2/admin/users/%d" % self.root.id, self.root, {"active": False}), 403, 94020117034004)
        self.refused(await self.post("/v2/admin/users/%d/roles?cmd=set" % self.root.id, self.root, []), 403, 94020117024004)

    async def test_groups(self) -> None:
        """Made by the administrator, read by its company's users, filled by membership."""
        made = await self.put("/v2/admin/groups", self.admin, {"name": "Sales"})
        self.assertEqual((made.status, made.entity["companyId"], made.entity["users"]), (201, self.acme, []))
        ident = made.entity["id"]
        joined = await self.post("/v2/admin/users/%d/groups?cmd=set" % self.user.id, self.admin, [ident])
        self.assertEqual(joined.json["groups"], [{"id": ident, "name": "Sales"}], joined.json)
        seen = await self.get("/v2/admin/groups/%d" % ident, self.user)
        self.assertEqual(seen.json["users"], [{"id": self.user.id, "email": "user@acme.example"}])
        self.refused(await self.get("/v2/admin/groups/%d" % ident, self.stranger), 404, 91090107041001)
        self.refused(await self.put("/v2/admin/groups", self.admin, {"name": "x", "companyId": self.other}), 403, 94020127044003)
        self.refused(await self.put("/v2/admin/groups", self.root, {"name": "x"}), 400, 92020127042001)
        self.refused(await self.post("/v2/admin/users/%d/groups?cmd=add" % self.user.id, self.admin, [ident, 99]), 404, 91090117043003)
        self.assertEqual(len((await self.get("/v2/admin/companies/%d/groups" % self.acme, self.user)).json), 1)
        self.refused(await self.get("/v2/admin/companies/%d/groups" % self.acme, self.stranger), 404, 91030107041001)
        self.assertEqual((await self.delete("/v2/admin/groups?ids=%d" % ident, self.admin)).json["code"], 204)

    async def test_companies(self) -> None:
        """Made and deleted by the administrator of all; one with users is not deleted."""
        made = await self.put("/v2/admin/companies", self.root, {"name": "Third"})
        self.assertEqual((made.status, made.entity["companyId"], made.entity["users"]), (201, made.entity["id"], []), made.json)
        self.refused(await self.put("/v2/admin/companies", self.admin, {"name": "x"}), 403, 94020127014004)
        self.assertEqual((await self.get("/v2/admin/companies/%d" % self.acme, self.admin)).json["name"], "ACME")
        self.refused(await self.get("/v2/admin/companies/%d" % self.other, self.admin), 404, 91030107011001)
        self.refused(await self.delete("/v2/admin/companies?ids=%d,%d" % (made.entity["id"], self.acme), self.root), 409, 93000147016002)
        self.assertEqual((await self.delete("/v2/admin/companies?ids=%d" % made.entity["id"], self.root)).json["code"], 204)

    async def test_custom_fields(self) -> None:
        """Unique by name; listed for users of the company."""
        field = {"name": "Size", "dataType": "varchar", "entityType": "contact"}
        made = await self.put("/v2/admin/customFields", self.admin, field)
        self.assertEqual((made.status, made.entity["companyId"]), (201, self.acme), made.json)
        self.refused(await self.put("/v2/admin/customFields", self.admin, field), 409, 93000127056002)
        self.refused(await self.put("/v2/admin/customFields", self.admin, {**field, "dataType": "int"}), 400, 92010127052003)
        path = "/v2/admin/companies/%d/customFields" % self.acme
        self.assertEqual((await self.get(path + "?entityType=contact", self.user)).json, [made.entity])
        self.assertEqual((await self.get(path + "?entityType=deal", self.user)).json, [])
        self.assertEqual((await self.get("/v2/admin/customFields", self.user)).json, [made.entity])
        renamed = await self.post("/v2/admin/customFields/%d" % made.entity["id"], self.admin, {"name": "Width"})
        self.assertEqual(renamed.entity["name"], "Width")
        self.refused(await self.get("/v2/admin/customFields/%d" % made.entity["id"], self.stranger), 404, 91000107051001)

    async def test_wipe(self) -> None:
        """All data goes, the account and its number stay; a colleague's task that was assigned returns."""
        self.sql("SELECT take(ARRAY[%s::bigint])", self.user.id)
        self.sql("INSERT INTO contacts (user_id, contact_type, first_name, seq) VALUES (%s, 'person', 'Ada', 1)", self.user.id)
        self.sql("INSERT INTO tasks (user_id, title, assigned_to_id, seq, assigned_seq) VALUES (%s, 'call', %s, 1, 1)", self.admin.id, self.user.id)
        self.sql("INSERT INTO tasks (user_id, title, assigned_to_id, seq, assigned_seq) VALUES (%s, 'mail', %s, 1, 1)", self.user.id, self.admin.id)
        before = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.user.id)[0][0]
        wiped = await self.post("/v2/admin/users/%d?cmd=wipeAccount" % self.user.id, self.admin)
        self.assertEqual(wiped.json, {"code": 200, "devmsg": "success"})
        self.refused(await self.get("/v2/notes", self.user), 401, 94010104005002)
        self.assertEqual(self.sql("SELECT count(*) FROM contacts"), [(0,)])
        self.assertEqual(self.sql("SELECT title, assigned_to_id FROM tasks"), [("call", self.admin.id)])
        self.assertEqual(self.sql("SELECT user_id, entity_type FROM tombstones"), [(self.admin.id, "task")])
        self.assertGreater(self.sql("SELECT seq FROM counters WHERE user_id = %s", self.user.id)[0][0], before)

    async def test_change_password(self) -> None:
        """The new one counts, the other sessions end, a wrong old one is 400."""
        await self.put("/v2/admin/users", self.admin, {"email": "n@acme.example", "password": "secret1"})
        login = {"username": "n@acme.example", "password": "secret1", "scope": "device app"}
        first = (await self.post("/v2/login", None, login)).json["token"]["authToken"]
        second = (await self.post("/v2/login", None, login)).json["token"]["authToken"]
        change = {"oldPassword": "secret1", "newPassword": "secret2"}
        wrong = await self.post("/v2/myAccount?cmd=changePwd", None, {**change, "oldPassword": "no"}, authToken=first)
        self.refused(wrong, 400, 92010117505003)
        self.assertEqual((await self.post("/v2/myAccount?cmd=changePwd", None, change, authToken=first)).json, {"code": 200, "devmsg": "success"})
        self.assertEqual((await self.get("/v2/notes", None, authToken=first)).status, 200)
        self.refused(await self.get("/v2/notes", None, authToken=second), 401, 94010104005002)
        self.refused(await self.post("/v2/login", None, login), 401, 94010200405003)
        self.assertEqual((await self.post("/v2/login", None, {**login, "password": "secret2"})).status, 200)
