"""One's own sessions, and what is true of a session that ends while a request is under way."""
from __future__ import annotations

from interactd.auth.tokens import digest
from interactd.changes import Ended
from tests.api_case import ApiCase, Person


class OwnSessions(ApiCase):
    """One user, logged in twice."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ann = self.person("ann@example.org")
        self.phone = Person(self.ann.id, self.ann.email, self.token(self.ann.id))
        self.ben = self.person("ben@example.org")

    def session(self, person: Person) -> int:
        """The id of the session behind a token."""
        return int(self.sql("SELECT id FROM sessions WHERE token_hash = %s", digest(person.token))[0][0])

    async def test_listed(self) -> None:
        """One's own with times and origin, the current one marked; neither expired ones nor those of others, nor any token."""
        login = {"username": "cat@example.org", "password": "secret-7", "scope": "web portal"}
        root = self.person(roles=("interact_admin",))
        await self.put("/v2/admin/users", root, {"email": login["username"], "password": login["password"]})
        made = await self.post("/v2/login", None, login, User_Agent="tests/1")
        cat = Person(made.json["user"]["id"], "", made.json["token"]["authToken"])
        self.sql("INSERT INTO sessions (user_id, token_hash, scope, expires_at) VALUES (%s, 'x', 'csr', now() - interval '1 s')", cat.id)
        listed = await self.get("/v2/myAccount/sessions", cat)
        self.assertEqual(listed.status, 200, listed.json)
        (one,) = listed.json
        self.assertEqual({**one, "created": 0, "lastUsed": 0}, {
            "id": self.session(cat), "scope": "web portal", "created": 0, "lastUsed": 0, "expires": made.json["token"]["expires"],
            "address": "127.0.0.1", "agent": "tests/1", "current": True})
        self.assertLessEqual(one["created"], one["lastUsed"])
        self.assertEqual([(s["id"], s["current"]) for s in (await self.get("/v2/myAccount/sessions", self.phone)).json],
                         [(self.session(self.ann), False), (self.session(self.phone), True)])
        self.assertEqual((await self.get("/v2/myAccount/sessions?limit=1", self.ann)).json["totalLength"], 2)

    async def test_ended(self) -> None:
        """The other one is dead at once and its sockets are told; what it registered stays, as after a logout."""
        told: list[Ended] = []
        self.parts.app.hub.subscribe(Ended, told.append)
        await self.put("/v2/devices", self.phone, {"deviceId": "phone"})
        path = f"/v2/myAccount/sessions/{self.session(self.phone)}"
        self.refused(await self.delete(path, self.ben), 404, 91000147501001)
        self.assertEqual((await self.delete(path, self.ann)).json, {"code": 204, "devmsg": "success"})
        self.assertEqual([(e.user_id, len(e.session_ids or ())) for e in told], [(self.ann.id, 1)])
        self.refused(await self.get("/v2/notes", self.phone), 401, 94010104005002)
        self.refused(await self.delete(path, self.ann), 404, 91000147501001)
        self.assertTrue((await self.get("/v2/devices", self.ann)).json[0]["active"])

    async def test_registering_under_a_session_that_has_just_ended(self) -> None:
        """What this node still believed: 401, and nothing is kept."""
        await self.get("/v2/notes", self.ann)
        self.sql("DELETE FROM sessions WHERE id = %s", self.session(self.ann))
        self.refused(await self.put("/v2/devices", self.ann, {"deviceId": "late"}), 401, 94010126005002)
        self.refused(await self.put("/v2/triggerDevices", self.ann, {"deviceId": "late"}), 401, 94010126015002)
        self.assertEqual(self.sql("SELECT count(*) FROM activities WHERE user_id = %s", self.ann.id), [(0,)])

    async def test_roles_of_this_instant(self) -> None:
        """What another node did to a role counts for administration's very next call, though the session was just read."""
        admin = self.person("admin@example.org", self.company(), ("customer_admin",))
        self.assertEqual((await self.get("/v2/admin/users", admin)).status, 200)
        self.sql("DELETE FROM user_roles WHERE user_id = %s", admin.id)
        self.refused(await self.get("/v2/admin/users", admin), 403, 94020107034004)
        self.sql("UPDATE users SET active = false WHERE id = %s", admin.id)
        self.refused(await self.get("/v2/admin/users", admin), 401, 94010107035002)
