"""Every code example of the customer's document, played against a database that has what it speaks of (tests/seed_examples.json)."""
from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.trial.unittest import TestCase

from interactd.api.body import Nothing
from interactd.auth.passwords import hash_password
from interactd.auth.tokens import digest
from interactd.calls import CALLS
from interactd.entities.wiping import TABLES
from tests.api_case import ApiCase, Person, Reply
from tests.import_case import Shelf, somebody
from tests.mail_case import PASSWORD, SENDER, USER, office
from tests.shapes import Shapes

HERE = Path(__file__).parent
AUTH_TOKEN, TRIGGER_TOKEN = "gfUH43trfdkjg34", "fSDAF8439fdsRdsfG5dfTf"          # of the document
COMPANY = 12                                                                      # of the document's table 73
ME = "test@interact.io"
FIRST_TABLE, LAST_TABLE = 7, 99
KEPT = ("trigger_devices", "login_addresses")                                     # what an example can not spoil


@cache
def document() -> dict[str, Any]:
    """The examples with their shapes, and how rows are made."""
    read: dict[str, Any] = json.loads((HERE / "seed_examples.json").read_text(encoding="utf-8"))
    return read


@cache
def listed() -> dict[tuple[int, str], tuple[str, str]]:
    """By table and `cmd` (empty where there is none): verb, path and `cmd`, and the least role that may make it."""
    lines = [line.split("\t") for line in (HERE / "calls.tsv").read_text(encoding="utf-8").splitlines()[2:]]
    return {(int(table), cmd): (f"{verb} {path} {cmd}".strip(), role or "user") for table, verb, path, cmd, _, role, *_ in lines}


def called(example: dict[str, Any]) -> tuple[str, str]:
    """The call that an example makes, and the role that it is made with."""
    cmd = parse_qs(urlsplit(example["url"]).query).get("cmd", [""])[0]
    name, role = listed()[example["table"], cmd]
    return name, example.get("as", role)


class Document(TestCase):
    """The data file against the document's own numbering."""

    def test_every_table_is_there_once(self) -> None:
        """Tables 7 to 99 describe a call each, and each of them shows one example."""
        self.assertEqual([e["table"] for e in document()["examples"]], list(range(FIRST_TABLE, LAST_TABLE + 1)))

    def test_shapes_can_fail(self) -> None:
        """What is missing, unknown, empty or of another type is a fault."""
        shape = {"id": "integer", "name": "alphanumeric", "tags": ["alphanumeric"], "kind": "enum(a,b)", "+more": "boolean"}
        right = {"id": 1, "name": "x", "tags": ["y"], "kind": "a"}
        self.assertEqual(Shapes({}, True).faults(shape, right), [])
        self.assertEqual(Shapes({}).faults(shape, {"id": 1, "tags": []}), [])
        for wrong in ({**right, "id": True}, {**right, "id": "1"}, {**right, "kind": "c"}, {**right, "tags": []}, {**right, "tags": [1]},
                      {**right, "new": 1}, {**right, "more": 1}, {k: v for k, v in right.items() if k != "name"}, [right], None):
            self.assertEqual(len(Shapes({}, True).faults(shape, wrong)), 1, wrong)
        self.assertEqual(len(Shapes({}).faults(shape, {"name": "x"})), 2)


class Played(ApiCase):
    """The examples, by the role of who plays them; tokens and ids are those of the document itself."""

    async def setUp(self) -> None:
        self.office = office(self)
        mail = self.office.settings()
        self.settings = {
            "INTERACTD_HTTP_PUBLIC_URL": "https://interact.example", "INTERACTD_MAIL_SERVER": mail.server, "INTERACTD_MAIL_PORT": str(mail.port),
            "INTERACTD_MAIL_USER": USER, "INTERACTD_MAIL_PASSWORD": PASSWORD, "INTERACTD_MAIL_FROM": SENDER,
            "INTERACTD_MAIL_CA_FILE": str(mail.ca_file)}
        await super().setUp()
        shelf = Shelf()
        shelf.put("1", somebody("Ada", ("mobile", "+491771")), groups=frozenset({"friends"}))
        shelf.put("2", somebody("Bob", ("mobile", "+491772")))
        self.parts.app.imports.systems["google"] = lambda username, password: shelf
        self.sql("INSERT INTO companies (id, name) OVERRIDING SYSTEM VALUE VALUES (%s, 'interact.io')", COMPANY)
        self.me = self.person(ME, COMPANY).id
        self.root = self.person("root@interact.io", None, ("interact_admin",))
        self.player = Person(self.me, ME, AUTH_TOKEN, COMPANY)
        self.sql("INSERT INTO trigger_devices (id, user_id, device_id, token_hash, salt, key_id) OVERRIDING SYSTEM VALUE "
                 "VALUES (1000, %s, 'phone', %s, '', 'none')", self.me, digest(TRIGGER_TOKEN))

    async def test_as_user(self) -> None:
        """What every user may, and what takes no token; the mail that is asked for arrives."""
        await self.play("user", 70)
        self.assertEqual((await self.office.next()).to, [ME])

    async def test_as_customer_admin(self) -> None:
        """What the administrator of a company may."""
        await self.play("customer_admin", 14)

    async def test_as_interact_admin(self) -> None:
        """What only the administrator of all companies may."""
        await self.play("interact_admin", 5)

    async def play(self, role: str, least: int) -> None:
        """Plays each example of the role; fails with all differences."""
        if role != "user":
            self.sql("INSERT INTO user_roles VALUES (%s, %s)", self.me, role)
        faults, played = [], 0
        for example in document()["examples"]:
            if called(example)[1] == role:
                faults += [f"table {example['table']}, {example['verb']} {example['url']}: {fault}" for fault in await self.one(example)]
                played += 1
        self.assertEqual([], faults, "\n" + "\n".join(faults))
        self.assertGreaterEqual(played, least)

    async def one(self, example: dict[str, Any]) -> list[str]:
        """What is not as the document says; a GET is played once more as a script."""
        self.fresh()
        await Prepared(self).all(example["there"])
        media = example.get("contentType", "application/json")
        reply = await self.asked(example, example["url"], Content_Type=media)
        faults = self.differences(example, reply)
        if example["verb"] == "GET" and not faults:
            path = example["url"] + ("&" if "?" in example["url"] else "?") + "callback=jsonpcallback"
            script = await self.asked(example, path)
            front, _, rest = script.raw.partition(b"(")
            if front != b"/**/jsonpcallback" or not rest.endswith(b");"):
                return [f"no script: {script.raw[:80]!r}"]
            faults = self.differences(example, Reply(script.status, json.loads(rest[:-2]), script.headers, script.raw))
        return faults

    async def asked(self, example: dict[str, Any], path: str, **headers: str) -> Reply:
        """The answer to an example."""
        body = json.dumps(example["body"]).encode() if "body" in example else None
        return await self.ask(example["verb"], path, None, body, **example["headers"], **headers)

    def differences(self, example: dict[str, Any], reply: Reply) -> list[str]:
        """What is not as the document shows it."""
        if reply.status != example["status"]:
            return [f"{reply.status} instead of {example['status']}: {reply.raw[:300]!r}"]
        return Shapes(document()["shapes"], example.get("whole", False)).faults(example["answer"], reply.json)

    def fresh(self) -> None:
        """Nothing is there but who plays, with token and trigger token, and the company."""
        gone = [f"DELETE FROM {table};" for table in TABLES if table not in KEPT]
        others = ("DELETE FROM trigger_devices WHERE device_id <> 'phone'; DELETE FROM group_members; DELETE FROM groups; DELETE FROM custom_fields;"
                  f"DELETE FROM users WHERE id NOT IN ({self.me}, {self.root.id}); DELETE FROM companies WHERE id <> {COMPANY};")
        self.sql("".join(gone) + others)
        self.sql("INSERT INTO sessions (user_id, token_hash, scope, expires_at) VALUES (%s, %s, 'device app', now() + interval '1 day') "
                 "ON CONFLICT (token_hash) DO NOTHING", self.me, digest(AUTH_TOKEN))


class Prepared:
    """Makes the rows that an example needs, with the ids that it names."""

    def __init__(self, case: Played) -> None:
        self.case = case
        self.last = {"company": COMPANY}

    async def all(self, wanted: list[Any]) -> None:
        """Makes each, in order: `kind id`, or an object that says more."""
        for one in wanted:
            if isinstance(one, str):
                kind, _, ident = one.partition(" ")
                one = {kind: int(ident or 0)}
            kind = next(iter(one))
            if kind == "password":
                self.case.sql("UPDATE users SET password_hash = %s WHERE id = %s", hash_password(self.case.config.auth, one[kind]), self.case.me)
            else:
                await self._one(kind, one[kind], one)

    async def _one(self, kind: str, ident: int, said: dict[str, Any]) -> None:
        how, case = document()["prepared"][kind], self.case
        plain = kind.removeprefix("whole")
        plain = plain[0].lower() + plain[1:]
        if "sql" in how:
            case.sql(how["sql"] % {"id": ident, "me": case.me, **self.last})
        elif "delete" in how:
            case.assertEqual((await case.delete(self._named(how["delete"], ident), case.player)).status, 200)
        else:
            await self._put(how, ident, said)
        self.last[plain] = ident
        if plain in ("person", "organization"):
            self.last["contact"] = ident

    async def _put(self, how: dict[str, Any], ident: int, said: dict[str, Any]) -> None:
        case, path = self.case, how["put"]
        case.sql("SELECT setval(%s, %s, false)", how["ids"], ident)
        who: Person | str = case.root if path.startswith("/v2/admin") else TRIGGER_TOKEN if path == "/v2/interactions" else case.player
        made = await case.put(path, who, self._named(said.get("body", how["body"]), ident))
        case.assertEqual((made.status, made.json.get("entity", {}).get("id")), (201, ident), (path, made.json))
        more = said.get("post", how.get("post"))
        if more is not None:
            reply = await case.post(f"{path}/{ident}", case.player, self._named(more, ident))
            case.assertEqual(reply.status, 200, (path, reply.json))

    def _named(self, value: Any, ident: int) -> Any:
        if isinstance(value, dict):
            return {key: self._named(inner, ident) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._named(inner, ident) for inner in value]
        if isinstance(value, str):
            return self.last[value[1:]] if value[0] == "@" else value.replace("{id}", str(ident))
        return value


#: what the document prints once -> the path that it means (contract section 1, spellings)
SPELLINGS = {
    "/v2/deal/:id": "/v2/deals/:id", "/v2/tasksLists/:id": "/v2/taskLists/:id", "/v2/admin/group/:id": "/v2/admin/groups/:id",
    "/v2/companies": "/v2/admin/companies", "/v2/customFields": "/v2/admin/customFields",
    "/v2/admin/company/:id/customFields": "/v2/admin/companies/:id/customFields",
}


#: examples of ours: pictures that are some, roles that every administrator may give
OWN_EXAMPLES = {"/v2/pictures", "/v2/pictures/:id", "/v2/admin/users/:id/roles"}


class Calls(TestCase):
    """The calls that the examples make."""

    def test_spellings(self) -> None:
        """What is printed once otherwise is the call that it means, with its rights and codes, and is not described."""
        def told(path: str) -> set[tuple[Any, ...]]:
            return {(c.verb, c.name, c.may, c.action, c.realm, c.run) for c in CALLS if c.path == path}
        for spelled, meant in SPELLINGS.items():
            self.assertLessEqual(told(spelled), told(meant), spelled)
            self.assertEqual({"PUT"} if ":id" not in spelled else {verb for verb, *_ in told(meant)}, {verb for verb, *_ in told(spelled)}, spelled)
            self.assertFalse(any(c.documented for c in CALLS if c.path == spelled), spelled)

    def test_all_are_served(self) -> None:
        """Each example makes a call that there is."""
        served = {f"{c.verb} {c.path} {c.cmd or ''}".strip() for c in CALLS}
        self.assertEqual({called(e)[0] for e in document()["examples"]} - served, set())

    def test_described(self) -> None:
        """The description shows the document's own bodies."""
        bodies: dict[str, list[Any]] = {}
        for example in document()["examples"]:
            if example.get("body"):
                bodies.setdefault(called(example)[0], []).append(example["body"])
        for call in CALLS:
            name = f"{call.verb} {call.path} {call.cmd or ''}".strip()
            if name in bodies and call.path not in OWN_EXAMPLES:
                self.assertIn(call.example, bodies[name], name)
        told = [call for call in CALLS if call.documented and (call.body or call.read) and call.body is not Nothing]
        self.assertEqual([call.name for call in told if call.example is None], [])
