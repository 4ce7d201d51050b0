"""Sharing a contact with groups."""

from __future__ import annotations

from typing import Any

from tests.api_case import Person
from tests.test_contacts import ContactCase


class Sharing(ContactCase):
    """POST /v2/contacts/:id?cmd=share&groups="""

    async def setUp(self) -> None:
        await super().setUp()
        self.firm = self.company()
        self.me = self.person("sharer@example.org", self.firm)
        self.colleague = self.person("colleague@example.org", self.firm)
        self.group = self.make_group(self.me, self.colleague)

    def make_group(self, *members: Person, company: int = 0) -> int:
        """The id of a new group."""
        company = company or self.firm
        group = self.sql("INSERT INTO groups (company_id, name) VALUES (%s, 'g') RETURNING id", company)[0][0]
        for member in members:
            self.sql("INSERT INTO group_members VALUES (%s, %s, %s)", company, group, member.id)
        return int(group)

    async def share(self, contact: Any, *groups: int, who: Person | None = None) -> Any:
        """The answer to a share."""
        said = ",".join(str(g) for g in groups or (self.group,))
        return await self.post("/v2/contacts/%d?cmd=share&groups=%s" % (contact["id"], said), who or self.me, {})

    async def contacts(self, who: Person) -> Any:
        """All contacts of somebody."""
        return (await self.get("/v2/contacts", who)).json["data"]

    async def test_share(self) -> None:
        """Each member has a copy of the contact's own data; the sharer's replaces the original, with all that hung on it."""
        field = self.sql("INSERT INTO custom_fields (company_id, name) VALUES (%s, 'size') RETURNING id", self.firm)[0][0]
        acme = await self.organization()
        made = await self.make(
            lastName="L",
            hot=True,
            basicInfos=[{"type": "phone", "value": "030 123456", "excluded": True}, {"type": "phone", "value": "x"}],
            addresses=[{"city": "Berlin"}],
            tags=["t"],
            searchTerms=["s"],
            profiles={"xing": {"username": "u"}},
            customFields=[{"id": field, "value": "XL"}],
            relatedTo=[acme["id"]],
        )
        note = await self.put("/v2/notes", self.me, {"message": "x", "relatedTo": {"id": made["id"], "type": "contact"}})
        self.sql("INSERT INTO pictures (user_id, contact_id, is_default, image) VALUES (%s, %s, true, 'i')", self.me.id, made["id"])
        made = await self.read(made)
        reply = await self.share(made)
        self.assertEqual((reply.status, reply.json["code"]), (200, 200), reply.json)
        mine = reply.entity
        self.assertNotEqual(mine["id"], made["id"])
        self.assertEqual({**mine, "id": 0, "changed": 0}, {**made, "id": 0, "changed": 0, "origin": made["id"], "sharedBy": self.me.id})
        self.assertEqual((mine["notes"], mine["relatedTo"]), ([note.entity["id"]], [acme["id"]]))
        self.assertEqual((await self.read(acme))["relatedTo"], [mine["id"]])
        self.assertEqual(await self.contacts(self.me), [await self.read(acme), mine])
        (theirs,) = await self.contacts(self.colleague)
        self.assertEqual([(i["value"], i["excluded"]) for i in theirs["basicInfos"]], [("030 123456", False), ("x", False)])
        self.assertEqual(self.sql("SELECT canon FROM basic_infos WHERE user_id = %s ORDER BY id", self.colleague.id), [("+4930123456",), (None,)])
        self.assertEqual(
            (theirs["displayName"], theirs["tags"], theirs["addresses"][0]["city"], theirs["customFields"], theirs["profiles"]),
            ("Ada L", ["t"], "Berlin", made["customFields"], made["profiles"]),
        )
        self.assertEqual([theirs[name] for name in ("notes", "relatedTo", "searchTerms", "hot")], [[], [], [], False])
        self.assertNotEqual(theirs["pictures"][0]["url"], mine["pictures"][0]["url"])
        self.assertEqual(self.sql("SELECT user_id, entity_id, merged_into FROM tombstones"), [(self.me.id, made["id"], mine["id"])])
        self.assertEqual(self.sql("SELECT DISTINCT origin, shared_by FROM contacts WHERE origin IS NOT NULL"), [(made["id"], self.me.id)])
        logged = self.sql(
            "SELECT user_id, actor_id, action, entity_id FROM activities WHERE entity_type = 'contact' AND entity_id = ANY(%s) AND time >= %s "
            "ORDER BY action, entity_id",
            [made["id"], mine["id"], theirs["id"]],
            mine["created"],
        )
        self.assertIn((self.colleague.id, self.me.id, "insert", theirs["id"]), logged)
        self.assertIn((self.me.id, self.me.id, "delete", made["id"]), logged)

    async def test_once(self) -> None:
        """Who holds a contact of that origin keeps it, who deleted it gets none again, through any number of shares."""
        third = self.person("third@example.org", self.firm)
        mine = (await self.share(await self.make())).entity
        (theirs,) = await self.contacts(self.colleague)
        again = await self.share(theirs, self.make_group(self.me, third), who=self.colleague)
        self.assertEqual([len(await self.contacts(who)) for who in (self.me, self.colleague, third)], [1, 1, 1])
        self.assertEqual(await self.contacts(self.me), [mine])
        self.assertEqual(await self.contacts(self.colleague), [again.entity])
        self.assertEqual(self.sql("SELECT count(DISTINCT origin), count(*) FROM contacts"), [(1, 3)])
        await self.delete("/v2/contacts/%d" % again.entity["id"], self.colleague)
        await self.share(mine)
        self.assertEqual(await self.contacts(self.colleague), [])

    async def test_absorbs(self) -> None:
        """A value that a colleague kept unassigned becomes the copy's, and stays excluded if it was."""
        kept = await self.put("/v2/basicInfos", self.colleague, {"type": "phone", "value": "+4930123456", "excluded": True})
        await self.share(await self.make(basicInfos=[{"type": "mobile", "value": "030 123456"}]))
        (theirs,) = await self.contacts(self.colleague)
        self.assertEqual(theirs["basicInfos"], [{**kept.entity, "type": "mobile", "value": "030 123456"}])

    async def test_inactive(self) -> None:
        """Inactive members get none; the sharer has a copy without being a member."""
        self.sql("UPDATE users SET active = false WHERE id = %s", self.colleague.id)
        other = self.person("other@example.org", self.firm)
        await self.share(await self.make(), self.make_group(self.colleague, other))
        self.assertEqual(self.sql("SELECT user_id FROM contacts ORDER BY 1"), [(self.me.id,), (other.id,)])

    async def test_faults(self) -> None:
        """Another company's group, an empty one, somebody else's contact, faults of the query and the body."""
        made = await self.make()
        foreign = self.make_group(company=self.company("Other"))
        self.refused(await self.share(made, self.group, foreign), 404, 91090161001001)
        self.refused(await self.share(made, 4711), 404, 91090161001001)
        self.refused(await self.share(made, self.make_group()), 400, 93000161006002)
        self.refused(await self.share(made, who=self.colleague), 404, 91040161001001)
        path = "/v2/contacts/%d" % made["id"]
        self.refused(await self.post(path + "?cmd=share", self.me, {}), 400, 92020161002001)
        self.refused(await self.post(path + "?cmd=share&groups=x", self.me, {}), 400, 92010161002003)
        self.refused(await self.post(path + "?cmd=share&groups=1", self.me, {"x": 1}), 400, 92010161002005)
        self.refused(await self.post(path + "?cmd=x", self.me, {}), 400, 92010161002005)
        self.refused(await self.post(path + "?cmd=share&groups=1", None, {}), 401, 94010161005001)
        self.assertEqual(await self.contacts(self.me), [made])
