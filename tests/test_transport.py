"""How calls are carried (contract sections 1 to 3): paths, verbs, bodies, queries, JSONP, CORS, credentials, codes of what no call answers."""
from __future__ import annotations

from typing import Any

import orjson

from interactd.api import app as edge
from tests.api_case import ApiCase, Person, Reply


class TransportCase(ApiCase):
    """One user with a contact."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()
        self.contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity

    def header(self, reply: Reply, name: str) -> str:
        """A header's value, empty for none."""
        return (reply.headers.getRawHeaders(name) or [""])[0]


class Paths(TransportCase):
    """Paths and verbs."""

    async def test_slash(self) -> None:
        """One at the end is ignored, two are another path."""
        self.assertEqual((await self.get("/v2/contacts/", self.me)).status, 200)
        self.assertEqual((await self.get(f"/v2/contacts/{self.contact['id']}/", self.me)).json, self.contact)
        self.refused(await self.get("/v2/contacts//", self.me), 404, 91000100001001)

    async def test_unknown(self) -> None:
        """Paths: the action follows the verb, no realm. Verbs: 405 with what is allowed. Both as JSON with a request id."""
        for verb, action in (("GET", 10), ("POST", 11), ("PUT", 12), ("DELETE", 14)):
            reply = await self.ask(verb, "/v2/nothing", self.me)
            self.refused(reply, 404, 9100_000_000_1001 + action * 10_000_000)
            self.assertRegex(self.header(reply, "x-request-id"), "^[0-9a-f]{16}$")
        reply = await self.put("/v2/contacts/1", self.me, {})
        self.refused(reply, 405, 93000120001001)
        self.assertEqual(self.header(reply, "allow"), "GET, POST, DELETE, HEAD, OPTIONS")

    async def test_head_and_options(self) -> None:
        """HEAD as GET without a body; OPTIONS 204."""
        whole, head = await self.get("/v2/contacts", self.me), await self.ask("HEAD", "/v2/contacts", self.me)
        self.assertEqual((head.status, head.raw, self.header(head, "content-length")), (200, b"", str(len(whole.raw))))
        self.assertEqual((await self.ask("OPTIONS", "/v2/contacts")).status, 204)

    async def test_ids(self) -> None:
        """What can not be an id is one that is not there."""
        for ident in ("0", "-1", "01", "x", "1.0", "9" * 30):
            self.refused(await self.get("/v2/contacts/" + ident, self.me), 404, 91040101001001)


class Bodies(TransportCase):
    """What is read, and how it is answered."""

    async def test_media(self) -> None:
        """JSON under any of the names that clients of 2014 give it; the answer says UTF-8."""
        note = orjson.dumps({"message": "Zoë", "relatedTo": {"id": self.contact["id"], "type": "contact"}})
        for media in ("application/json", "application/json; charset=utf-8", "application/vnd.x+json", "text/plain",
                      "application/x-www-form-urlencoded; charset=UTF-8", ""):
            made = await self.put("/v2/notes", self.me, note, Content_Type=media)
            self.assertEqual((made.status, made.entity["message"]), (201, "Zoë"), media)
        self.assertEqual(self.header(made, "content-type"), "application/json; charset=utf-8")
        self.refused(await self.put("/v2/notes", self.me, note, Content_Type="application/xml"), 415, 93000124002003)

    async def test_nothing(self) -> None:
        """No body, `{}` and `null` are equal where nothing is needed."""
        for body in (None, b"", {}, b"null", b" "):
            self.assertEqual((await self.post(f"/v2/taskLists/{await self.task_list()}", self.me, body)).status, 200, body)

    async def task_list(self) -> int:
        return int((await self.put("/v2/taskLists", self.me, {"title": "x"})).entity["id"])

    async def test_bounds(self) -> None:
        """Deeper than 32 levels, more than 10 000 values, not UTF-8, NUL."""
        deep: Any = []
        for _ in range(33):
            deep = [deep]
        for body, code in (({"message": deep}, 2004), ({"message": [0] * 10_001}, 2004), (b'{"message": "\xff"}', 2003), ({"message": "a\0b"}, 2003)):
            given = body if isinstance(body, bytes) else {**body, "relatedTo": {"id": self.contact["id"], "type": "contact"}}
            reply = await self.put("/v2/notes", self.me, given)
            self.assertEqual((reply.status, reply.json["error"] % 10_000), (400, code), reply.json)

    async def test_all_faults_at_once(self) -> None:
        """Unknown keys first, at most twenty of them, then what is missing, then the rest; the first gives the code."""
        body = {**{f"x{n}": 1 for n in range(30)}, "relatedTo": 7}
        reply = await self.put("/v2/notes", self.me, body)
        self.refused(reply, 400, 92010124002005)
        self.assertEqual([d["attribute"] for d in reply.json["details"]], [f"x{n}" for n in range(20)] + ["message", "relatedTo"])
        reply = await self.put("/v2/notes", self.me, {"relatedTo": 7})
        self.refused(reply, 400, 92020124002001)

    async def test_sent_back(self) -> None:
        """A client may send what it read: what only the server sets is ignored."""
        changed = await self.post(f"/v2/contacts/{self.contact['id']}", self.me, {**self.contact, "displayName": "x", "created": 1, "id": 99})
        self.assertEqual((changed.status, changed.entity["id"], changed.entity["displayName"]), (200, self.contact["id"], "Ada"), changed.json)


class Queries(TransportCase):
    """What stands behind `?`."""

    async def test_ignored(self) -> None:
        """`_` on a GET, `callback` elsewhere; nothing else."""
        self.assertEqual((await self.get("/v2/contacts?_=1350000000", self.me)).status, 200)
        self.refused(await self.delete("/v2/notes?ids=1&_=1", self.me), 400, 92010144002005)
        self.refused(await self.delete("/v2/notes?ids=1&callback=f", self.me), 404, 91110144001001)
        self.refused(await self.get("/v2/contacts?limit=1&limit=2", self.me), 400, 92010101002003)

    async def test_plus(self) -> None:
        """A blank in `deviceId` is the `+` that was not escaped."""
        await self.put("/v2/triggerDevices", self.me, {"deviceId": "+49 1"})
        await self.put("/v2/triggerDevices", self.me, {"deviceId": "+49+1"})
        self.assertEqual((await self.get("/v2/triggerDevices?deviceId=+49+1", self.me)).status, 200)

    async def test_paging(self) -> None:
        """Bounds of `offset` and `limit`, and pages beyond the end."""
        for said, code in (("offset=-1", 2004), ("limit=0", 2004), ("limit=x", 2003), ("limit=", 2003), ("offset=99999999999", 2004)):
            reply = await self.get("/v2/deals?" + said, self.me)
            self.assertEqual((reply.status, reply.json["error"] % 10_000), (400, code), said)
        self.assertEqual((await self.get("/v2/contacts?offset=5", self.me)).json, {"data": [], "length": 0, "startIndex": 5, "totalLength": 1})

    async def test_several_ids(self) -> None:
        """1 to 1000, all or nothing, the missing one is named."""
        missing = await self.delete(f"/v2/contacts?ids={self.contact['id']},77", self.me)
        self.refused(missing, 404, 91040141001001)
        self.assertIn("77", missing.json["devmsg"])
        self.assertEqual((await self.get(f"/v2/contacts/{self.contact['id']}", self.me)).status, 200)
        for said, code in (("1,,2", 2003), ("", 2002), ("0", 2003), (",".join(map(str, range(1, 1002))), 2004)):
            reply = await self.delete("/v2/contacts?ids=" + said, self.me)
            self.assertEqual((reply.status, reply.json["error"] % 10_000), (400, code), said[:20])


class Scripts(TransportCase):
    """JSONP."""

    async def test_answers(self) -> None:
        """Always 200, also for an error, whose `code` says the status; U+2028 is escaped; nobody may guess another type."""
        await self.put("/v2/notes", self.me, {"message": "a\u2028b\u2029", "relatedTo": {"id": self.contact["id"], "type": "contact"}})
        reply = await self.get("/v2/notes?callback=$a.b_1", self.me)
        self.assertTrue(reply.raw.startswith(b"/**/$a.b_1([") and reply.raw.endswith(b"]);"), reply.raw)
        self.assertIn(rb"a\u2028b\u2029", reply.raw)
        self.assertEqual((self.header(reply, "content-type"), self.header(reply, "x-content-type-options")),
                         ("application/javascript; charset=utf-8", "nosniff"))
        gone = await self.get("/v2/deals/77?callback=f", self.me)
        self.assertEqual(gone.status, 200)
        self.assertEqual(orjson.loads(gone.raw.removeprefix(b"/**/f(").removesuffix(b");"))["code"], 404)
        for name in ("a(b", "1a", "a..b", "", "a" * 129):
            reply = await self.get("/v2/notes?callback=" + name, self.me)
            self.assertEqual((reply.status, self.header(reply, "content-type")), (400, "application/json; charset=utf-8"), name)

    async def test_token_in_the_query(self) -> None:
        """Not unless the configuration says so."""
        reply = await self.get(f"/v2/notes?callback=f&authToken={self.me.token}")
        self.assertEqual(orjson.loads(reply.raw.removeprefix(b"/**/f(").removesuffix(b");"))["code"], 401)


class QueryToken(TransportCase):
    """With `jsonp-query-token = yes`."""

    settings = {"INTERACTD_HTTP_JSONP_QUERY_TOKEN": "yes"}

    async def test_token_in_the_query(self) -> None:
        """For scripts, but not where secrets or others' data are."""
        self.assertEqual((await self.get(f"/v2/notes?callback=f&authToken={self.me.token}")).raw, b"/**/f([]);")
        self.refused(await self.get(f"/v2/notes?authToken={self.me.token}"), 401, 94010104005001)
        root = self.person(roles=("interact_admin",))
        for path in ("/v2/triggerDevices", "/v2/admin/users", "/v2/myAccount/sessions", "/v2/sync"):
            reply = await self.get(f"{path}?callback=f&authToken={root.token}")
            self.assertEqual(orjson.loads(reply.raw.removeprefix(b"/**/f(").removesuffix(b");"))["code"], 401, path)


class Origins(TransportCase):
    """CORS."""

    settings = {"INTERACTD_HTTP_ALLOWED_ORIGINS": "https://app.example.com"}

    async def test_origins(self) -> None:
        """Those of the configuration are let in, nobody else."""
        reply = await self.ask("OPTIONS", "/v2/contacts", Origin="https://app.example.com", Access_Control_Request_Method="PUT")
        self.assertEqual((reply.status, self.header(reply, "access-control-allow-origin")), (204, "https://app.example.com"))
        self.assertEqual(set(self.header(reply, "access-control-allow-headers").split(", ")), set(edge.ALLOWED_HEADERS.split(", ")))
        self.assertEqual(edge.ALLOWED_HEADERS, "authToken, triggerToken, Authorization, Content-Type, Idempotency-Key")
        got = await self.get("/v2/contacts", self.me, Origin="https://app.example.com")
        self.assertEqual(self.header(got, "access-control-expose-headers"), "X-Request-Id")
        self.assertEqual(self.header(await self.get("/v2/contacts", self.me, Origin="https://evil.example"), "access-control-allow-origin"), "")


class Credentials(TransportCase):
    """Who is calling."""

    async def test_two(self) -> None:
        """Two different tokens: 400, wherever it would not be clear who calls; one and the same twice is one."""
        self.refused(await self.get("/v2/notes", self.me, Authorization="Bearer other"), 400, 92010104002003)
        self.assertEqual((await self.get("/v2/notes", self.me, Authorization="bearer " + self.me.token)).status, 200)
        trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})).entity["triggerToken"]
        event = (await self.put("/v2/interactions", trigger, {"type": "call-incoming", "data": "1234567"})).entity["id"]
        both = await self.post(f"/v2/interactions/{event}", self.me, {"status": "missed"}, triggerToken=trigger)
        self.refused(both, 400, 92010119002003)
        for who in (self.me, trigger):
            self.assertEqual((await self.post(f"/v2/interactions/{event}", who, {"status": "missed"})).status, 200)

    async def test_only_new_passwords_are_measured(self) -> None:
        """One that nobody can have is wrong like any other."""
        login = {"username": self.me.email, "password": "x" * 300, "scope": "csr"}
        self.refused(await self.post("/v2/login", None, login), 401, 94010200405003)
        self.refused(await self.post("/v2/login", None, {**login, "password": "x"}), 401, 94010200405003)
        change = {"oldPassword": "x" * 300, "newPassword": "long enough"}
        self.refused(await self.post("/v2/myAccount?cmd=changePwd", self.me, change), 400, 92010117505003)
        self.refused(await self.post("/v2/myAccount?cmd=changePwd", self.me, {**change, "newPassword": "x" * 257}), 400, 92010117502004)

    async def test_expiry(self) -> None:
        """Sliding for all scopes; an end that use does not move for `web portal` and `csr`."""
        for scope, ends in (("device app", False), ("trigger app", False), ("web portal", True), ("csr", True)):
            token = self.token(self.me.id, scope)
            self.sql("UPDATE sessions SET created_at = now() - interval '80 days', used_at = now() - interval '2 hours', "
                     "expires_at = now() + interval '1 hour' WHERE scope = %s", scope)
            await self.get("/v2/triggerDevices", Person(self.me.id, "", token))
            await self.parts.app.sessions.settled()
            ((days,),) = self.sql("SELECT max(extract(epoch FROM expires_at - now()) / 86400)::float FROM sessions WHERE scope = %s", scope)
            self.assertEqual(round(days), 10 if ends else 14, scope)


class Commands(TransportCase):
    """`cmd`."""

    async def test_missing_and_unknown(self) -> None:
        """With action and realm of the path's documented commands."""
        root = self.person(roles=("interact_admin",))
        for verb, path, action, realm in (("POST", "/v2/contacts", 13, 100), ("POST", "/v2/import", 15, 111), ("GET", "/v2/cleanup", 10, 90),
                                          ("POST", "/v2/myAccount", 11, 750), ("POST", f"/v2/admin/users/{self.me.id}/roles", 11, 702),
                                          ("POST", f"/v2/admin/users/{self.me.id}/groups", 11, 704)):
            where = (action * 1000 + realm) * 10_000
            self.refused(await self.ask(verb, path, root), 400, 9202_000_000_2001 + where)
            self.refused(await self.ask(verb, path + "?cmd=dance", root), 400, 9201_000_000_2005 + where)
        self.refused(await self.post(f"/v2/contacts/{self.contact['id']}?cmd=dance", self.me, {}), 400, 92010161002005)
        self.refused(await self.post(f"/v2/admin/users/{self.me.id}?cmd=dance", root, {}), 400, 92010227032005)
