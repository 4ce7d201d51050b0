"""Random edits here and there with imports between: nothing is lost, nothing is doubled, what was edited here stays."""
from __future__ import annotations

import random
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from interactd.errors import Unavailable
from interactd.imports.person import Json
from interactd.imports.three_way import patch
from tests.import_case import ImportCase

_WORD = st.sampled_from(["", "a", "b", "c"])
_INFO = st.fixed_dictionaries({"type": st.sampled_from(["phone", "mobile", "email"]), "subtype": st.sampled_from(["home", "other"]),
                               "value": st.sampled_from(["1", "2", "3"])})
_ATTRIBUTES = ("title", "firstName", "lastName", "profession")


def _key(info: Json) -> tuple[bool, str]:
    return info["type"] == "email", info["value"]


@st.composite
def cards(draw: Any) -> Json:
    """A person, named, each value once."""
    said = {key: draw(_WORD) for key in _ATTRIBUTES}
    said["lastName"] = said["lastName"] or "x"
    infos = draw(st.lists(_INFO, max_size=4, unique_by=_key))
    return {"contactType": "person", **{k: v for k, v in said.items() if v}, "basicInfos": infos, "addresses": []}


def applied(ours: Json, changes: Json) -> Json:
    """What an update makes of a contact: absent is left, null is cleared, a list is the new list."""
    made = {**ours, **{k: v for k, v in changes.items() if k != "basicInfos"}}
    by_id = {info["id"]: info for info in ours["basicInfos"]}
    if "basicInfos" in changes:
        made["basicInfos"] = [{**by_id.get(i.get("id"), {"id": 1000 + n}), **i} for n, i in enumerate(changes["basicInfos"])]
    return {k: v for k, v in made.items() if v is not None}


class ThreeWay(TestCase):
    """Their changes over ours, by the rules alone."""

    @settings(max_examples=400, deadline=None)
    @given(cards(), cards(), cards())
    def test_rules(self, base: Json, theirs: Json, ours: Json) -> None:
        """Each attribute and each value."""
        ours = {**ours, "basicInfos": [{"id": n, "excluded": False, **info} for n, info in enumerate(ours["basicInfos"])]}
        after = applied(ours, patch(base, theirs, ours))
        for key in _ATTRIBUTES:
            if ours.get(key) != base.get(key):
                self.assertEqual(after.get(key), ours.get(key), "edited here: it stays")
            elif key in ("title", "profession"):
                self.assertEqual(after.get(key), theirs.get(key), "not edited here: theirs")
        self.assertTrue(after.get("firstName") or after.get("lastName"))
        before, there, here, now = ({_key(i): (i["type"], i["subtype"]) for i in card["basicInfos"]} for card in (base, theirs, ours, after))
        self.assertEqual(len(now), len(after["basicInfos"]), "nothing is doubled")
        for key in before.keys() | there.keys() | here.keys():
            edited = here.get(key) != before.get(key)
            if edited and key in here:
                self.assertEqual(now.get(key), here[key], "added or edited here: it stays")
            elif edited and key in before:
                self.assertNotIn(key, now, "deleted here: it stays so")
            else:
                self.assertEqual(now.get(key), there.get(key), "not edited here: theirs")
        again = {**after, "basicInfos": after["basicInfos"]}
        self.assertEqual(patch(theirs, theirs, again), {}, "a second time changes nothing")


@define
class Truth:
    """What must be so of an entry."""

    there: Json | None
    title: str = ""                     # the last one said there
    edited: bool = False                # here, ever
    own_title: str | None = None        # said here
    own_site: str | None = None
    deleted_here: bool = False


@define
class World:
    """All entries, and contacts made by hand."""

    truths: dict[str, Truth] = field(factory=dict)
    own: list[str] = field(factory=list)


class Imports(ImportCase):
    """The whole way, by the API."""

    async def test_random(self) -> None:
        """Some worlds with some dozens of steps each."""
        for seed in range(4):
            self.me, self.world, self.random = self.person(), World(), random.Random(seed)
            self.shelf.entries.clear()
            self.shelf.log.clear()
            try:
                for _ in range(40):
                    await self.random.choice((self.new_there, self.new_there, self.edit_there, self.drop_there, self.edit_here, self.drop_here,
                                              self.new_here, self.some_import))()
                await self.settle()
            except BaseException as failure:
                raise AssertionError(f"seed {seed}") from failure

    def some(self) -> str | None:
        """One of the entries that are there."""
        alive = [ident for ident, truth in self.world.truths.items() if truth.there is not None]
        return self.random.choice(alive) if alive else None

    def write(self, ident: str, truth: Truth) -> None:
        """The entry says what it should."""
        infos = [{"type": "email", "subtype": "other", "value": f"{ident}@example.org"}]
        truth.there = {"contactType": "person", "firstName": ident, "title": truth.title, "basicInfos": infos, "addresses": []}
        self.shelf.put(ident, truth.there)

    async def new_there(self) -> None:
        """An entry more."""
        ident = f"e{len(self.world.truths)}"
        self.world.truths[ident] = Truth(None, title=f"there {self.random.random()}")
        self.write(ident, self.world.truths[ident])

    async def edit_there(self) -> None:
        """Another title there."""
        if ident := self.some():
            self.world.truths[ident].title = f"there {self.random.random()}"
            self.write(ident, self.world.truths[ident])

    async def drop_there(self) -> None:
        """An entry less."""
        if ident := self.some():
            self.shelf.drop(ident)
            self.world.truths[ident].there = None

    async def edit_here(self) -> None:
        """A title or a website of one's own."""
        if found := await self.one_here():
            ident, contact = found
            truth = self.world.truths[ident]
            truth.edited = True
            said: Json = {"version": contact["version"]}
            if self.random.random() < 0.5:
                said["title"] = truth.own_title = f"here {self.random.random()}"
            else:
                truth.own_site = f"https://{self.random.randrange(10 ** 9)}.example"
                said["basicInfos"] = [*({"id": i["id"]} for i in contact["basicInfos"] if i["type"] != "website"),
                                      {"type": "website", "value": truth.own_site}]
            self.assertEqual((await self.post(f"/v2/contacts/{contact['id']}", self.me, said)).status, 200)

    async def drop_here(self) -> None:
        """A contact less."""
        if found := await self.one_here():
            self.world.truths[found[0]].deleted_here = True
            self.assertEqual((await self.delete(f"/v2/contacts/{found[1]['id']}", self.me)).status, 200)

    async def new_here(self) -> None:
        """A contact of one's own."""
        name = f"own{len(self.world.own)}"
        self.world.own.append(name)
        self.assertEqual((await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": name})).status, 201)

    async def one_here(self) -> tuple[str, Json] | None:
        """One of the imported contacts that are here."""
        found = [c for name, c in (await self.contacts()).items() if name in self.world.truths]
        if not found:
            return None
        contact = self.random.choice(found)
        return contact["displayName"], contact

    async def some_import(self) -> None:
        """With or without a token, with one that has expired, broken off, with filters that nobody passes."""
        self.shelf.syncs, self.shelf.expired = self.random.random() < 0.7, self.random.random() < 0.2
        self.shelf.fails = {self.random.randrange(1, 4): Unavailable("away", detail=7002)} if self.random.random() < 0.3 else {}
        query = {"groupIds": "nobody"} if self.random.random() < 0.1 else {}
        self.assertIn((await self.imports(confirmDeletions=1, **query)).status, (200, 503))

    async def settle(self) -> None:
        """Two more imports, of which the second finds nothing, and all is as it must be."""
        self.shelf.fails, self.shelf.expired, self.shelf.syncs = {}, False, False
        await self.imported(confirmDeletions=1)
        self.assertEqual(self.lists(await self.imported(confirmDeletions=1)), {})
        here = await self.contacts()
        self.assertEqual(sorted(name for name in here if name not in self.world.truths), sorted(self.world.own))
        for ident, truth in self.world.truths.items():
            if truth.deleted_here or truth.there is None and not truth.edited:
                self.assertNotIn(ident, here)
                continue
            if truth.there is None and ident not in here:
                continue                # it was gone before it could be edited
            contact = here[ident]
            self.assertEqual(contact["title"], truth.own_title or truth.title, ident)
            sites = [i["value"] for i in contact["basicInfos"] if i["type"] == "website"]
            self.assertEqual((sites, len(contact["basicInfos"])), ([truth.own_site] if truth.own_site else [], 1 + len(sites)), ident)
        self.assertEqual(self.sql("SELECT count(*) FROM import_contacts WHERE user_id = %s", self.me.id), [(0,)])
