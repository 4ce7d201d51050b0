"""What every call must satisfy, as loops over CALLS: a new entity is covered by being in the list."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from interactd.api import answers
from interactd.api.call import Call, Token
from interactd.api.pipeline import bare_action
from interactd.calls import CALLS
from interactd.errors import KINDS
from tests import samples
from tests.api_case import ApiCase, Person, Reply

DEAD = "x" * 43
NOBODY = 999_999_999
VERBS = ("GET", "PUT", "POST", "DELETE")


def code(call: Call, exception: int, detail: int) -> int:
    """The 14 digits of an error of a call."""
    return ((exception * 1000 + call.action) * 1000 + call.realm) * 10000 + detail


def named(call: Call) -> str:
    """A call as failures name it."""
    return f"{call.verb} {call.path}{'?cmd=' + call.cmd if call.cmd else ''}"


class CallsCase(ApiCase):
    """Two companies; `me` administers one, `other` the other; a failure of one call does not hide the next one's."""

    async def setUp(self) -> None:
        await super().setUp()
        self.faults: list[str] = []
        self.asked = 0
        here, there = self.company("here"), self.company("there")
        self.me = self.person("me@example.com", here, ("customer_admin",))
        self.other = self.person("other@example.com", there, ("customer_admin",))
        self.plain = self.person("plain@example.com", here)
        self.admin = self.person("admin@example.com", None, ("interact_admin",))
        self.app = Person(self.admin.id, self.admin.email, self.token(self.admin.id, "trigger app"))
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "mine"})).entity["triggerToken"]

    def who(self, call: Call) -> Person | str | None:
        """Somebody who may make the call."""
        if call.may.token is Token.NONE:
            return None
        if call.may.token is Token.TRIGGER:
            return self.trigger
        return self.admin if call.may.role == "interact_admin" else self.me

    async def make(self, call: Call, who: Person | str | None, ident: int = 1, **more: Any) -> Reply:
        """The call, right in everything but what `more` (query, body, headers) says."""
        given = more.pop("body", samples.body(call) if call.body or call.read else None)
        self.asked += 1
        return await self.ask(call.verb, samples.path(call, ident) + samples.query(call, **more.pop("query", {})), who, given, **more)

    def expect(self, call: Call, reply: Reply, status: int, exception: int, detail: int, about: str = "") -> None:
        """The reply is this error, and the description has it."""
        wanted = code(call, exception, detail)
        got = (reply.status, reply.json.get("error") if isinstance(reply.json, dict) else None)
        if got != (status, wanted):
            self.faults.append(f"{named(call)} {about}: {got[0]} {got[1]} instead of {status} {wanted}: {reply.raw[:200]!r}")
        if wanted not in {fault.code(call.action, call.realm) for fault in answers.errors(call)}:
            self.faults.append(f"{named(call)} {about}: {wanted} is not described")

    def told(self, call: Call, reply: Reply, exception: int, detail: int, key: str) -> None:
        """The reply is this error, of status 400, and names the attribute."""
        self.expect(call, reply, 400, exception, detail, key)
        if not any(d["attribute"] == key for d in (reply.json or {}).get("details", ())):
            self.faults.append(f"{named(call)}: {key} is not named: {reply.raw[:200]!r}")

    def settle(self, least: int) -> None:
        """Fails with all that was found; also when fewer than `least` requests were made."""
        self.assertEqual([], self.faults, "\n" + "\n".join(self.faults))
        self.assertGreaterEqual(self.asked, least)


def taking(*tokens: Token) -> Iterator[Call]:
    """The calls that take one of these credentials."""
    return (call for call in CALLS if call.may.token in tokens)


class EveryCall(CallsCase):
    """The errors that every call must give, with their exact codes."""

    async def test_anonymous(self) -> None:
        """Without a token: 401, 5001."""
        for call in taking(Token.AUTH, Token.TRIGGER, Token.EITHER):
            self.expect(call, await self.make(call, None), 401, 9401, 5001)
        self.settle(60)

    async def test_dead_token(self) -> None:
        """With a token that is good no more: 401, 5002."""
        gone = Person(0, "", DEAD)
        for call in taking(Token.AUTH, Token.EITHER):
            self.expect(call, await self.make(call, gone), 401, 9401, 5002)
        for call in taking(Token.TRIGGER, Token.EITHER):
            self.expect(call, await self.make(call, DEAD), 401, 9401, 5002)
        self.settle(60)

    async def test_wrong_role(self) -> None:
        """Without the role, or with the scope `trigger app`: 403, 4004."""
        for call in taking(Token.AUTH, Token.EITHER):
            if call.may.role != "user":
                self.expect(call, await self.make(call, self.plain), 403, 9402, 4004, "as user")
            if call.may.role == "interact_admin":
                self.expect(call, await self.make(call, self.me), 403, 9402, 4004, "as customer_admin")
            if not call.may.trigger_app:
                self.expect(call, await self.make(call, self.app), 403, 9402, 4004, "as trigger app")
        self.settle(60)

    async def test_unknown_key(self) -> None:
        """A body with an attribute that nobody knows: 400, 2005."""
        for call in CALLS:
            right = samples.body(call)
            right = {} if right is None else right
            if (call.body or call.read) and isinstance(right, dict):
                self.expect(call, await self.make(call, self.who(call), body={**right, "noSuchKey": 1}), 400, 9201, 2005)
        self.settle(15)

    async def test_unknown_parameter(self) -> None:
        """A query with a parameter that nobody knows: 400, 2005."""
        for call in CALLS:
            self.expect(call, await self.make(call, self.who(call), query={"noSuchParameter": "1"}), 400, 9201, 2005)
        self.settle(70)

    async def test_wrong_type(self) -> None:
        """Each attribute with a value of the wrong type: 400, 2003, and the answer names it."""
        for call in CALLS:
            for key, wrong in samples.wrong_types(call):
                self.told(call, await self.make(call, self.who(call), body=wrong), 9201, 2003, key)
        self.settle(200)

    async def test_wrong_parameter(self) -> None:
        """Each parameter with a text that it can not be: 400, 2003."""
        for call in CALLS:
            for name, said in samples.wrong_params(call):
                self.expect(call, await self.make(call, self.who(call), query={name: said}), 400, 9201, 2003, name)
        self.settle(30)

    async def test_wrong_list(self) -> None:
        """Where a body is a list: something else, and items of the wrong type: 400, 2003."""
        for call in (c for c in CALLS if c.body_schema is not None and c.body_schema.get("type") == "array"):
            for wrong in ({"no": "list"}, 17, [{}]):
                self.expect(call, await self.make(call, self.who(call), body=wrong), 400, 9201, 2003, repr(wrong))
        self.settle(18)

    async def test_missing(self) -> None:
        """Without an attribute or a parameter that must be there: 400, 9202, 2001, and the answer names it."""
        for call in CALLS:
            for key, wrong in samples.missing(call):
                self.told(call, await self.make(call, self.who(call), body=wrong), 9202, 2001, key)
            for param in (p for p in call.query if p.required):
                self.told(call, await self.make(call, self.who(call), query={"without": param.name}), 9202, 2001, param.name)
        self.settle(45)

    async def test_empty(self) -> None:
        """A text that must not be empty: 400, 2002, and the answer names it."""
        for call in CALLS:
            for key, wrong in samples.empty(call):
                self.told(call, await self.make(call, self.who(call), body=wrong), 9201, 2002, key)
        self.settle(20)

    async def test_too_long(self) -> None:
        """A text too long, a number out of range, a list with too many items: 400, 2004, and the answer names it."""
        for call in CALLS:
            for key, wrong in samples.too_large(call):
                self.told(call, await self.make(call, self.who(call), body=wrong), 9201, 2004, key)
        self.settle(60)

    async def test_cmd(self) -> None:
        """Where calls differ by `cmd`: none, if there is no call without, is 9202 2001; one that nobody knows 9201 2005."""
        for path, verb in dict.fromkeys((c.path, c.verb) for c in CALLS if c.cmd):
            calls = [c for c in CALLS if (c.path, c.verb) == (path, verb)]
            first = next(c for c in calls if c.cmd)
            if all(c.cmd for c in calls):
                reply = await self.ask(verb, samples.path(first), self.who(first))
                self.assertEqual((reply.status, reply.json["error"]), (400, code(first, 9202, 2001)), path)
            reply = await self.ask(verb, samples.path(first) + "?cmd=noSuchCommand", self.who(first))
            self.assertEqual((reply.status, reply.json["error"]), (400, code(first, 9201, 2005)), path)

    async def test_wrong_verb(self) -> None:
        """A known path with another verb: 405, with what is allowed."""
        paths: dict[str, set[str]] = {}
        for call in CALLS:
            paths.setdefault(call.path, set()).add(call.verb)
        for pattern, verbs in paths.items():
            call = next(c for c in CALLS if c.path == pattern)
            for verb in ["PATCH", *(v for v in VERBS if v not in verbs)]:
                reply = await self.ask(verb, samples.path(call), self.me)
                self.asked += 1
                allowed = (reply.headers.getRawHeaders("allow") or [""])[0].split(", ")
                wanted = (405, 9300_000_000_1001 + bare_action(verb) * 10_000_000, verbs | {"OPTIONS"} | ({"HEAD"} if "GET" in verbs else set()))
                if (reply.status, reply.json.get("error"), set(allowed)) != wanted:
                    self.faults.append(f"{verb} {pattern}: {reply.status} {allowed} {reply.raw[:200]!r}")
        self.settle(80)

    async def test_wrong_media(self) -> None:
        """A body that is declared as something else than JSON: 415."""
        for call in CALLS:
            if call.body or call.read:
                self.expect(call, await self.make(call, self.who(call), body=b"<xml/>", Content_Type="text/xml"), 415, 9300, 2003)
        self.settle(20)

    async def test_no_json(self) -> None:
        """A body that is none: 400, 2003."""
        for call in CALLS:
            if call.body or call.read:
                self.expect(call, await self.make(call, self.who(call), body=b'{"a": '), 400, 9201, 2003)
        self.settle(20)


class Foreign(CallsCase):
    """Ids of somebody else's."""

    async def test_foreign_id(self) -> None:
        """What is another company's is not there: 404 by path and by `ids`, and nothing of it changes."""
        ids = await self._others()
        self.assertGreaterEqual(ids.keys(), {"contact", "note", "device", "group", "user", "entity", "basicinfo"})
        before = self._state()
        for call in CALLS:
            mine = call.may.token is not Token.NONE and call.may.role != "interact_admin"
            ident = ids.get(call.kind, NOBODY) if mine else NOBODY
            if call.ids:
                missed = "group" if any(p.name == "groups" for p in call.query) else call.kind          # groups are looked for first
                self.expect(call, await self.make(call, self.who(call), ident), 404, KINDS[missed], 1001)
            elif any(p.name == "ids" for p in call.query):
                self.expect(call, await self.make(call, self.who(call), query={"ids": str(ident)}), 404, KINDS[call.kind], 1001)
        self.assertEqual(self._state(), before)
        self.settle(40)

    async def _others(self) -> dict[str, int]:
        """By kind, an id of what `other` has."""
        session = self.sql("SELECT id FROM sessions WHERE user_id = %s", self.other.id)[0][0]
        ids = {"user": self.other.id, "company": self.other.company or 0, "session": session}
        order = sorted(CALLS, key=lambda c: c.path != "/v2/contacts")
        for call in order:
            if call.verb == "PUT" and call.may.token is Token.AUTH and call.may.role != "interact_admin" and call.documented:
                reply = await self.put(call.path, self.other, samples.body(call, ids))
                self.assertIn(reply.status, (200, 201), (named(call), reply.json))
                ids[call.kind] = reply.entity["id"]
                if "triggerToken" in reply.entity:
                    event = await self.put("/v2/interactions", reply.entity["triggerToken"], {"type": "call-incoming", "data": "+4930293522"})
                    ids["interaction"] = event.entity["id"]
        return ids

    def _state(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT seq, (SELECT count(*) FROM activities a WHERE a.user_id = c.user_id OR a.actor_id = c.user_id) FROM counters c "
                        "WHERE c.user_id = %s", self.other.id)


class TooLarge(CallsCase):
    """Small limits, so that little is too much."""

    settings = {"INTERACTD_HTTP_BODY_LIMIT": "4096", "INTERACTD_HTTP_PICTURE_BODY_LIMIT": "16384"}

    async def test_too_large(self) -> None:
        """More than a call takes, and more than any call takes: 413 with the call's own action and realm."""
        for call in CALLS:
            if call.body or call.read:
                ordinary = b" " * 4097 if call.limit <= 1 << 20 else b" " * 16385
                self.expect(call, await self.make(call, self.who(call), body=ordinary), 413, 9300, 2004)
                self.expect(call, await self.make(call, self.who(call), body=b" " * 20000), 413, 9300, 2004)
        self.settle(40)


class Seed(TestCase):
    """The customer's list of calls: who may, and the action and realm of their errors (calls.tsv)."""

    def served(self) -> list[tuple[str, Call | None, dict[str, str]]]:
        """Each line with its call, if there is one."""
        lines = [line.split("\t") for line in (Path(__file__).parent / "calls.tsv").read_text().splitlines() if not line.startswith("#")]
        found = []
        for line in lines[1:]:
            said = dict(zip(lines[0], line))
            call = next((c for c in CALLS if (c.verb, c.path, c.cmd or "") == (said["verb"], said["path"], said["cmd"])), None)
            found.append((f"{said['verb']} {said['path']} {said['cmd']}", call, said))
        return found

    def test_each_as_listed(self) -> None:
        """Token, role, action and realm are those of the list."""
        tokens = {"": None, "-": Token.NONE, "A": Token.AUTH, "T": Token.TRIGGER, "A|T": Token.EITHER}
        faults, seen = [], 0
        for name, call, said in self.served():
            if call is None:
                continue
            seen += 1
            wanted = (tokens[said["token"]], said["role"] or "user", int(said["action"]), int(said["realm"]))
            if (call.may.token, call.may.role, call.action, call.realm) != wanted:
                faults.append(f"{name}: {call.may.token} {call.may.role} {call.action} {call.realm} instead of {wanted}")
        self.assertEqual([], faults, "\n" + "\n".join(faults))
        self.assertGreater(seen, 60)

    def test_all_are_served(self) -> None:
        """Nothing of the list is missing."""
        self.assertEqual([], [name.strip() for name, call, _ in self.served() if call is None])
