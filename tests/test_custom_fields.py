"""Custom fields that are renamed or deleted: the contacts that hold values change, in their owners' numbers."""
from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet.defer import Deferred

from interactd.changes import Changed
from interactd.db import Statement
from tests.api_case import ApiCase, Person

NOTHING = Statement("nothing", "SELECT 1")


class Held(ApiCase):
    """A field, two users with values of it, one without."""

    async def setUp(self) -> None:
        await super().setUp()
        company = self.company()
        self.admin = self.person("admin@acme.example", company, ("customer_admin",))
        self.ann, self.ben, self.cat = (self.person(f"{name}@acme.example", company) for name in ("ann", "ben", "cat"))
        field = {"name": "Size", "dataType": "varchar", "entityType": "contact"}
        self.field = (await self.put("/v2/admin/customFields", self.admin, field)).entity["id"]
        self.held = [await self.contact(who, [{"id": self.field, "value": "XL"}]) for who in (self.ann, self.ben)]
        self.others = [await self.contact(self.ann, []), await self.contact(self.cat, [])]

    async def contact(self, who: Person, values: list[Any]) -> int:
        made = await self.put("/v2/contacts", who, {"contactType": "person", "firstName": "Ada", "customFields": values})
        self.assertEqual(made.status, 201, made.json)
        return int(made.entity["id"])

    def numbers(self) -> dict[int, tuple[int, int]]:
        """By contact, its number and version."""
        return {ident: (seq, version) for ident, seq, version in self.sql("SELECT id, seq, version FROM contacts")}

    def counters(self) -> dict[int, int]:
        return dict(self.sql("SELECT user_id, seq FROM counters"))

    async def test_renamed(self) -> None:
        """Each holder's number rises by one, its contacts carry it and show the new name; versions stay, others do not move."""
        told: list[Changed] = []
        self.parts.app.hub.subscribe(Changed, told.append)
        before, counted = self.numbers(), self.counters()
        self.assertEqual((await self.post(f"/v2/admin/customFields/{self.field}", self.admin, {"name": "Width"})).status, 200)
        after = self.counters()
        self.assertEqual({user: after[user] - counted[user] for user in after},
                         {self.admin.id: 0, self.ann.id: 1, self.ben.id: 1, self.cat.id: 0})
        for ident, owner in zip(self.held, (self.ann, self.ben)):
            self.assertEqual(self.numbers()[ident], (after[owner.id], before[ident][1]))
            shown = (await self.get(f"/v2/contacts/{ident}", owner)).json["customFields"]
            self.assertEqual(shown, [{"id": self.field, "name": "Width", "value": "XL"}])
        self.assertEqual([self.numbers()[ident] for ident in self.others], [before[ident] for ident in self.others])
        self.assertEqual({e.user_id: e.seq for e in told if e.user_id != self.admin.id}, {u.id: after[u.id] for u in (self.ann, self.ben)})

    async def test_deleted(self) -> None:
        """The values go: a change of the contact's own data, so its version rises too."""
        before = self.numbers()
        self.assertEqual((await self.delete(f"/v2/admin/customFields?ids={self.field}", self.admin)).json["code"], 204)
        for ident, owner in zip(self.held, (self.ann, self.ben)):
            self.assertEqual(self.numbers()[ident], (self.counters()[owner.id], before[ident][1] + 1))
            self.assertEqual((await self.get(f"/v2/contacts/{ident}", owner)).json["customFields"], [])
        self.assertEqual([self.numbers()[ident] for ident in self.others], [before[ident] for ident in self.others])

    async def test_refused(self) -> None:
        """A field that is not there, or a name that is taken: nobody's number moves."""
        await self.put("/v2/admin/customFields", self.admin, {"name": "Width", "dataType": "varchar", "entityType": "contact"})
        counted = self.counters()
        self.refused(await self.post(f"/v2/admin/customFields/{self.field}", self.admin, {"name": "Width"}), 409, 93000117056002)
        self.refused(await self.delete(f"/v2/admin/customFields?ids={self.field},999999", self.admin), 404, 91000147051001)
        self.assertEqual(self.counters(), counted)

    async def test_a_value_stored_meanwhile(self) -> None:
        """One who stores a first value while the field is being renamed holds the renaming up, and changes with the rest."""
        rival = psycopg2.connect(self.dsn)
        self.addCleanup(rival.close)
        with rival.cursor() as cursor:
            cursor.execute("SELECT take(ARRAY[%s::bigint])", (self.cat.id,))
            cursor.execute("INSERT INTO contact_custom_values (user_id, contact_id, company_id, custom_field_id, value) "
                           "SELECT id, %s, company_id, %s, 'S' FROM users WHERE id = %s", (self.others[1], self.field, self.cat.id))
        renaming = Deferred.fromCoroutine(self.post(f"/v2/admin/customFields/{self.field}", self.admin, {"name": "Width"}))
        while not self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"):
            await self.parts.app.database.query(NOTHING)
        rival.commit()
        stored = self.counters()[self.cat.id]
        self.assertEqual((await renaming).status, 200)
        self.assertEqual((self.numbers()[self.others[1]][0], self.counters()[self.cat.id]), (stored + 1, stored + 1))
