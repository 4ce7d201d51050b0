"""Tenants: every call with every id of a colleague's and of another company's, in paths, queries and bodies (contract section 2).

What is tried follows from the declarations of CALLS: whatever is an id in a path, a query or a body must be known to the tables
below, or the test says so.
"""
from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg2
from attrs import frozen

from interactd.api import answers
from interactd.api.call import Call, Token
from interactd.api.openapi import body_schema
from interactd.api.schemas import REFER, Schemas
from interactd.calls import CALLS
from interactd.errors import KINDS
from tests import samples
from tests.api_case import ApiCase, Reply
from tests.owning import MAKERS, OF_COMPANY, Owner

#: attributes and parameters that hold ids -> kinds of rows that they name
NAMES = {
    "ids": (), "groups": ("/v2/admin/groups",), "contactId": ("/v2/contacts",), "contactIds": ("/v2/contacts",), "contact": ("/v2/contacts",),
    "importContactIds": ("importContact",), "relatedTo": ("/v2/contacts", "organization", "/v2/deals"), "basicInfos": ("/v2/basicInfos",),
    "addresses": ("address",), "customFields": ("/v2/admin/customFields",), "phoneNumberIds": ("/v2/basicInfos",), "listId": ("/v2/taskLists",),
    "assignedTo": ("assignee",), "basicInfoId": ("/v2/basicInfos",), "organization": ("organization",), "organizationId": ("organization",),
    "person": ("/v2/contacts",), "personId": ("/v2/contacts",), "companyId": ("/v2/admin/companies",),
}
#: whole numbers that name nothing
NUMBERS = {"version", "value", "duration", "time", "created", "concreteDueDate", "dueDate", "sentAt"}
#: parameters that name no row by its id
PLAIN = {
    "of", "offset", "limit", "value", "projection", "q", "entityType", "since", "time", "cursor", "k", "size", "erase", "nameRequired",
    "phoneRequired", "emailRequired", "updated-min", "groupIds", "confirmDeletions",
}
#: parameters that name a device as it was registered
REGISTERED = {"deviceId", "token"}
#: what must stand beside an id so that it is the id alone that is wrong
BESIDE = {
    "basicInfos": {"type": "phone", "value": "+49301"}, "addresses": {"city": "Bonn"}, "customFields": {"value": "x"}, "contact": {"version": 1},
}
ABREAST = {"phoneNumberIds": {"taskType": "scheduled_call"}}
#: what can not be named by a body that creates, even if it is one's own
STAYING = {"address"}
WEBSOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@frozen
class Place:
    """Where an id stands in a body: the keys that lead to it, `[]` for any place in a list."""

    keys: tuple[str, ...]

    def name(self, call: Call) -> str:
        """The attribute; for a body that is a list of ids, what the path ends with."""
        named = [key for key in self.keys if key not in ("[]", "id")]
        return named[-1] if named else call.path.rpartition("/")[2]

    def put(self, body: Any, ident: int, typed: str) -> Any:
        """The body with the id there; `typed` is what a `relatedTo` says beside it."""
        return _put(copy.deepcopy(body), self.keys, ident, {**BESIDE, "relatedTo": {"type": typed} if typed else {}}, "")


def _put(value: Any, keys: tuple[str, ...], ident: int, beside: dict[str, dict[str, Any]], name: str) -> Any:
    if not keys:
        return ident
    if keys[0] == "[]":
        return [_put({}, keys[1:], ident, beside, name)]
    value = {**(value if isinstance(value, dict) else {}), **ABREAST.get(keys[0], {})}
    value[keys[0]] = _put(value.get(keys[0]), keys[1:], ident, beside, keys[0])
    return {**value, **beside.get(name, {})} if keys[0] == "id" else value


def places(call: Call) -> Iterator[Place]:
    """Where a body of the call can hold whole numbers that are not known to be mere numbers."""
    if call.body is None and call.read is None:
        return
    schemas = Schemas()
    found = dict.fromkeys(_numbers_in(body_schema(call, schemas), schemas, ()))
    yield from (Place(keys) for keys in found if keys[-1] not in NUMBERS)


def _numbers_in(schema: dict[str, Any], schemas: Schemas, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if "$ref" in schema:
        schema = schemas.made[schema["$ref"].removeprefix(REFER)]
    kinds = schema.get("type", ())
    if "integer" in ([kinds] if isinstance(kinds, str) else kinds):
        yield keys
    for choice in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _numbers_in(choice, schemas, keys)
    for key, inner in schema.get("properties", {}).items():
        yield from _numbers_in(inner, schemas, (*keys, key))
    if "items" in schema:
        yield from _numbers_in(schema["items"], schemas, (*keys, "[]"))


def collection(call: Call) -> str:
    """The kind that the id in the call's path names: the path before it, as it is described."""
    described = next((c for c in CALLS if c.name == call.name and c.documented), call)
    return described.path.partition("/:")[0]


def named(call: Call) -> str:
    """The call as failures name it."""
    return f"{call.verb} {call.path}{'?cmd=' + call.cmd if call.cmd else ''}"


@frozen
class Try:
    """A request of somebody with an id in one place: `kind` of the row, and how the request is made with it."""

    call: Call
    where: str
    kind: str
    place: Place | None = None
    trigger: bool = False                                                   # by a trigger device, where a user may, too

    async def parts(self, me: Owner, ident: int) -> tuple[str, dict[str, str], Any]:
        """Path, query and body, all else being one's own and right."""
        own = 0
        if self.call.ids:
            own = ident if self.where == "path" else await me.make(collection(self.call))
        query = {self.where: str(ident)} if self.place is None and self.where != "path" else {}
        if any(p.name == "ids" for p in self.call.query) and self.where != "ids":
            query["ids"] = str(await me.make(collection(self.call)))
        if self.call.cmd == "share" and self.where != "groups":
            query["groups"] = str(await me.make("/v2/admin/groups"))
        body = await self._body(me)
        return samples.path(self.call, own), query, body if self.place is None else self.place.put(body, ident, self.typed)

    @property
    def typed(self) -> str:
        """What `relatedTo` says of its id, where it says it."""
        return "" if self.call.path.startswith("/v2/deal") else "deal" if self.kind == "/v2/deals" else "contact"

    async def _body(self, me: Owner) -> Any:
        """What the call takes, with nothing in it that names a row but what must be there, which is one's own."""
        if self.call.body is None and self.call.read is None:
            return None
        body = samples.body(self.call, {"contact": await me.make("/v2/contacts")})
        if not isinstance(body, dict):
            return body
        body = {key: said for key, said in body.items() if key not in ("contactIds", "importContactIds", "organization", "person")}
        unique = {"email": f"{me.named()}@example.org", "deviceId": me.named(), "name": me.named()}
        return {key: unique.get(key, said) for key, said in body.items()}


class Tenancy(ApiCase):
    """`me` and `boss` (its administrator) of one company; a colleague; a stranger of another company."""

    async def setUp(self) -> None:
        await super().setUp()
        here, there = self.company("here"), self.company("Zorn")
        root = self.person("root@example.org", None, ("interact_admin",))
        self.me = Owner(self, self.person("me@example.org", here), root, "mine")
        self.boss = Owner(self, self.person("boss@example.org", here, ("customer_admin",)), root, "ours")
        self.colleague = Owner(self, self.person("colleague@example.org", here), root, "Quill")
        self.stranger = Owner(self, self.person("Zorn@example.org", there), root, "Zorn")
        self.faults: list[str] = []
        self.foreign: dict[tuple[str, str], int] = {}
        self.connection = psycopg2.connect(self.dsn)
        self.connection.autocommit = True
        self.digests, self.seen = self.told_by(), dict[str, str]()
        self.addCleanup(self.connection.close)
        for owner in (self.me, self.colleague, self.stranger):
            await owner.make("/v2/interactions")                            # its trigger device
        for owner in (self.me, self.boss, self.colleague, self.stranger):
            await owner.put("/v2/devices", {"deviceId": owner.device_id})
            await owner.put("/v2/triggerDevices", {"deviceId": owner.device_id})

    def who(self, call: Call) -> Owner:
        """Somebody of this company who may make the call, and no more."""
        return self.boss if call.may.role == "customer_admin" else self.me

    async def its(self, owner: Owner, kind: str) -> int:
        """An id of a kind of somebody else's, always the same."""
        key = owner.mark, kind
        if key not in self.foreign:
            self.foreign[key], self.seen = await owner.make(kind), {}
        return self.foreign[key]

    def tries(self) -> Iterator[Try]:
        """Each place of each call that takes an id, once for each kind that it may name; what is in no table is a fault."""
        for call in CALLS:
            if call.may.role == "interact_admin" or call.may.token is Token.NONE and not call.ids:
                continue                                                    # all companies are theirs
            if call.ids:
                yield Try(call, "path", collection(call))
                if call.may.token is Token.EITHER:
                    yield Try(call, "path", collection(call), trigger=True)
            for param in call.query:
                if param.name in NAMES:
                    yield from (Try(call, param.name, kind) for kind in NAMES[param.name] or (collection(call),))
                elif param.name not in PLAIN | REGISTERED:
                    self.faults.append(f"{named(call)}: does the parameter {param.name} name a row? Say so in a table above")
            for place in places(call):
                kinds = NAMES.get(place.name(call))
                if kinds is None:
                    self.faults.append(f"{named(call)}: what does {'.'.join(place.keys)} name? Say so in a table above")
                yield from (Try(call, ".".join(place.keys), kind, place) for kind in _possible(call, place, kinds or ()))

    def others(self, kind: str) -> tuple[Owner, ...]:
        """Whose rows of this kind are not one's own."""
        return (self.stranger,) if kind in OF_COMPANY else (self.colleague, self.stranger)

    async def request(self, one: Try, ident: int, who: Owner) -> Reply:
        """The answer to a try."""
        path, query, body = await one.parts(who, ident)
        wanted = Token.TRIGGER if one.trigger else one.call.may.token
        token = None if wanted is Token.NONE else who.trigger if wanted is Token.TRIGGER else who.person
        return await self.ask(one.call.verb, path + samples.query(one.call, **query), token, body)

    def state(self) -> dict[str, str]:
        """By table, a digest of all that belongs to the others."""
        with self.connection.cursor() as cursor:
            cursor.execute(self.digests, {"users": [self.colleague.person.id, self.stranger.person.id], "companies": [self.stranger.person.company]})
            return dict(cursor.fetchall())

    def known(self) -> dict[str, str]:
        """The same, as it was seen last, unless something was made since then."""
        if not self.seen:
            self.seen = self.state()
        return self.seen

    def told_by(self) -> str:
        """The statement that reads the digests of all tables."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
                           "WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace GROUP BY 1 ORDER BY 1")
            owned = [(table, _whose(table, columns)) for table, columns in cursor.fetchall()]
        return " UNION ALL ".join(f"SELECT '{table}', count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t WHERE {where}"
                                  for table, where in owned if where)

    async def test_foreign_ids(self) -> None:
        """What is somebody else's is not there, wherever its id is put: 404, or 403, and nothing of it changes or is told."""
        tried: set[str] = set()
        async for one, owner, ident in self._foreign():
            before = self.known()
            reply = await self.request(one, ident, self.who(one.call))
            about = f"{named(one.call)} {one.where}: {one.kind} of {owner.mark}"
            self.judge(reply, owner, about, before)
            self.exact(one, reply, about)
            tried.add(named(one.call))
        self.settle()
        self.assertGreater(len(tried), 60)
        self.assertGreaterEqual(len(before), 30)

    async def test_own_ids(self) -> None:
        """The same requests with ids of one's own are answered, so that it was the id that was refused."""
        for one in (one for one in self.tries() if one.kind not in STAYING and one.call.may.token is not Token.NONE):
            who = self.who(one.call)
            reply = await self.request(one, await who.make(one.kind), who)
            if reply.status >= 400:
                self.faults.append(f"{named(one.call)} {one.where}: {one.kind} of one's own: {reply.status} {reply.raw[:200]!r}")
        self.settle()

    async def test_ids_together(self) -> None:
        """One id of somebody else's among one's own: 404, and all stay."""
        for call in CALLS:
            if any(p.name == "ids" for p in call.query) and call.may.role != "interact_admin":
                who, kind = self.who(call), collection(call)
                own, other = await who.make(kind), await self.its(self.stranger, kind)
                before = self.known()
                self.judge(await self.delete(f"{call.path}?ids={own},{other}", who.person), self.stranger, named(call), before)
                self.assertEqual((await self.delete(f"{call.path}?ids={own}", who.person)).status, 200, named(call))
        self.settle()

    async def test_devices_by_name(self) -> None:
        """A device that somebody else registered is not there by its name."""
        tried = 0
        for call in CALLS:
            for param in (p for p in call.query if p.name in REGISTERED):
                for owner in (self.colleague, self.stranger):
                    headers = WEBSOCKET if call.upgrade else {}
                    before = self.known()
                    path = call.path + samples.query(call, **{param.name: owner.device_id})
                    reply = await self.ask(call.verb, path, self.me.person, None, **headers)
                    self.judge(reply, owner, f"{named(call)} {param.name}", before)
                    tried += 1
        self.settle()
        self.assertGreaterEqual(tried, 6)

    async def test_lists(self) -> None:
        """No list tells of what is somebody else's."""
        for kind in MAKERS:
            for owner in self.others(kind):
                await self.its(owner, kind)
        asked = 0
        for call in CALLS:
            if call.verb == "GET" and not call.ids and not call.upgrade and call.may.token is Token.AUTH and call.may.role != "interact_admin":
                who = self.who(call)
                own = {p.name: who.device_id for p in call.query if p.name in REGISTERED and p.required}
                reply = await self.get(call.path + samples.query(call, **own), who.person)
                self.assertEqual(reply.status, 200, (named(call), reply.json))
                self.unseen(reply, named(call))
                asked += 1
        self.settle()
        self.assertGreater(asked, 15)

    async def _foreign(self) -> AsyncIterator[tuple[Try, Owner, int]]:
        for one in self.tries():
            for owner in self.others(one.kind):
                yield one, owner, await self.its(owner, one.kind)

    def judge(self, reply: Reply, owner: Owner, about: str, before: dict[str, str]) -> None:
        """Notes a fault for any answer but 403 and 404, for an answer that tells, and for a change."""
        if reply.status not in (403, 404):
            self.faults.append(f"{about}: {reply.status} {reply.raw[:200]!r}")
        self.unseen(reply, about)
        after = self.seen = self.state()
        self.faults += [f"{about}: {table} has changed" for table in before.keys() | after.keys() if before.get(table) != after.get(table)]

    def exact(self, one: Try, reply: Reply, about: str) -> None:
        """Notes a fault unless the code is the call's own, says what is not there, or that it is another company's, and is described."""
        code = reply.json["error"] if isinstance(reply.json, dict) and "error" in reply.json else 0
        detail, exception = code % 10000, code // 10**10
        right = detail == (3003 if one.place else 1001) if exception in KINDS.values() else (exception, detail) == (9402, 4003)
        if not right or code not in {fault.code(one.call.action, one.call.realm) for fault in answers.errors(one.call)}:
            self.faults.append(f"{about}: the code is {code}")

    def unseen(self, reply: Reply, about: str) -> None:
        """Notes a fault when a mark of somebody else's is in the answer."""
        told = re.search(rb"Zorn|Quill", reply.raw)
        if told:
            self.faults.append(f"{about}: the answer tells {reply.raw[max(0, told.start() - 80):told.end() + 80]!r}")

    def settle(self) -> None:
        """Fails with all that was found."""
        self.assertEqual([], self.faults, "\n" + "\n".join(self.faults))


def _possible(call: Call, place: Place, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Of the kinds that an attribute may name, those that it may name in this call."""
    if place.name(call) == "relatedTo" and place.keys[-1] == "[]":
        return ("organization",)                                            # of a contact: a person's organizations
    if place.name(call) == "relatedTo" and call.path.startswith("/v2/deal"):
        return ("/v2/contacts",)
    return kinds


def _whose(table: str, columns: list[str]) -> str:
    if table == "users":
        return "t.id = ANY(%(users)s)"
    if table == "companies":
        return "t.id = ANY(%(companies)s)"
    return "t.user_id = ANY(%(users)s)" if "user_id" in columns else "t.company_id = ANY(%(companies)s)" if "company_id" in columns else ""
