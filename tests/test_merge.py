"""Merging contacts and import contacts; finding what to merge."""

from __future__ import annotations

from typing import Any

import orjson

from tests.api_case import Reply
from tests.test_contacts import ContactCase

PHONE = {"type": "phone", "value": "+4930123456"}
EMAIL = {"type": "email", "value": "a@example.org"}


class MergeCase(ContactCase):
    """Contacts and import contacts."""

    async def merge(self, contact: Any, *merged: Any, imported: tuple[int, ...] = ()) -> Reply:
        """The answer to a merge."""
        body = {"contactIds": [m["id"] for m in merged], "importContactIds": list(imported), "contact": contact}
        return await self.post("/v2/contacts?cmd=merge", self.me, body)

    def imported(self, name: str, *values: tuple[str, str, str], **card: Any) -> int:
        """The id of a new import contact with these (type, value, canonical form)."""
        ident = self.sql(
            "INSERT INTO import_contacts (user_id, system, account, external_id, card, display_name) "
            "VALUES (%s, 'google', 'me', %s, %s, %s) RETURNING id",
            self.me.id,
            name,
            orjson.dumps({"firstName": name, **card}).decode(),
            name,
        )[0][0]
        for place, (kind, value, canon) in enumerate(values):
            self.sql(
                "INSERT INTO import_infos (user_id, import_contact_id, place, type, value, canon) VALUES (%s, %s, %s, %s, %s, %s)",
                self.me.id,
                ident,
                place,
                kind,
                value,
                canon,
            )
        return int(ident)


class Merging(MergeCase):
    """POST /v2/contacts?cmd=merge"""

    async def test_into_one_that_is_there(self) -> None:
        """All that hangs on the others moves to it, equal values once; they leave tombstones that name it."""
        firm = await self.organization()
        ada = await self.make(basicInfos=[PHONE], tags=["a"])
        twin = await self.make(
            firstName="A.",
            basicInfos=[{"type": "mobile", "value": "030 123456"}, EMAIL],
            addresses=[{"city": "Berlin"}],
            tags=["b"],
            relatedTo=[firm["id"]],
            profiles={"xing": {"connected": True}},
        )
        note = await self.put("/v2/notes", self.me, {"message": "x", "relatedTo": {"id": twin["id"], "type": "contact"}})
        self.sql("INSERT INTO deals (user_id, name, contact_id, seq) VALUES (%s, 'd', %s, 0)", self.me.id, twin["id"])
        self.sql(
            "INSERT INTO tasks (user_id, title, assigned_to_id, contact_id, seq, assigned_seq) VALUES (%s, 't', %s, %s, 0, 0)",
            *[self.me.id] * 2,
            twin["id"],
        )
        self.sql(
            "INSERT INTO interactions (user_id, type, time, sort_time, person_id, basic_info_id, created_seq, seq) "
            "VALUES (%s, 'call-incoming', 1, 1, %s, %s, 0, 0)",
            self.me.id,
            twin["id"],
            twin["basicInfos"][0]["id"],
        )
        self.sql("INSERT INTO pictures (user_id, contact_id, is_default) VALUES (%s, %s, true)", self.me.id, twin["id"])
        reply = await self.merge({"id": ada["id"], "version": 1, "lastName": "Lovelace"}, twin, ada)
        self.assertEqual((reply.status, reply.json["code"]), (200, 200), reply.json)
        now = reply.entity
        self.assertEqual((now["id"], now["version"], now["displayName"], now["tags"]), (ada["id"], 2, "Ada Lovelace", ["a", "b"]))
        self.assertEqual([i["value"] for i in now["basicInfos"]], [PHONE["value"], EMAIL["value"]])
        self.assertEqual(now["basicInfos"][1]["id"], twin["basicInfos"][1]["id"])
        self.assertEqual((now["addresses"], now["relatedTo"], now["notes"]), (twin["addresses"], [firm["id"]], [note.entity["id"]]))
        self.assertEqual([len(now[name]) for name in ("deals", "tasks", "interactions", "pictures")], [1, 1, 1, 1])
        self.assertEqual(now["profiles"]["xing"], {"connected": True})
        self.assertEqual(now, await self.read(ada))
        self.assertEqual(self.sql("SELECT basic_info_id FROM interactions"), [(ada["basicInfos"][0]["id"],)])
        self.assertEqual(self.sql("SELECT is_default FROM pictures"), [(True,)])
        seq = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)[0][0]
        self.assertEqual(self.sql("SELECT entity_id, merged_into, seq FROM tombstones"), [(twin["id"], ada["id"], seq)])
        self.assertEqual(
            self.sql("SELECT seq FROM deals UNION ALL SELECT seq FROM notes UNION ALL SELECT seq FROM tasks UNION ALL SELECT seq FROM interactions"),
            [(seq,)] * 4,
        )
        self.refused(await self.get("/v2/contacts/%d" % twin["id"], self.me), 404, 91040101001001)
        self.assertEqual((await self.read(firm))["relatedTo"], [ada["id"]])

    async def test_into_a_new_one(self) -> None:
        """Without id it is created; then contactType is due."""
        ada, bob = await self.make(basicInfos=[PHONE]), await self.make(basicInfos=[EMAIL])
        made = (await self.merge({"contactType": "person", "firstName": "Both"}, ada, bob)).entity
        self.assertNotIn(made["id"], (ada["id"], bob["id"]))
        self.assertEqual((made["version"], [i["value"] for i in made["basicInfos"]]), (1, [PHONE["value"], EMAIL["value"]]))
        self.assertEqual((await self.get("/v2/contacts", self.me)).json, {"data": [made]})

    async def test_a_final_list(self) -> None:
        """The list in the body is final, and may name what the merged ones had; what goes hands its events to its equal."""
        ada, bob = await self.make(basicInfos=[PHONE, EMAIL]), await self.make(basicInfos=[PHONE, {"type": "fax", "value": "+493077"}])
        self.sql(
            "INSERT INTO interactions (user_id, type, time, sort_time, basic_info_id, created_seq, seq) VALUES (%s, 'call-incoming', 1, 1, %s, 0, 0)",
            self.me.id,
            bob["basicInfos"][0]["id"],
        )
        fax = bob["basicInfos"][1]["id"]
        now = (
            await self.merge({"id": ada["id"], "version": 1, "basicInfos": [{"id": fax}, {"id": ada["basicInfos"][0]["id"]}], "addresses": []}, bob)
        ).entity
        self.assertEqual(sorted(i["id"] for i in now["basicInfos"]), sorted([fax, ada["basicInfos"][0]["id"]]))
        self.assertEqual(self.sql("SELECT basic_info_id FROM interactions"), [(ada["basicInfos"][0]["id"],)])

    async def test_import_contacts(self) -> None:
        """Their values come along, they go with a tombstone, and the next import knows whom they became."""
        ada = await self.make(basicInfos=[PHONE])
        ident = self.imported("x", ("phone", "030 123456", "+4930123456"), ("email", "x@example.org", "x@example.org"), addresses=[{"city": "Rom"}])
        now = (await self.merge({"id": ada["id"], "version": 1}, imported=(ident,))).entity
        self.assertEqual([i["value"] for i in now["basicInfos"]], [PHONE["value"], "x@example.org"])
        self.assertEqual([a["city"] for a in now["addresses"]], ["Rom"])
        self.assertEqual(self.sql("SELECT entity_id, merged_into FROM tombstones"), [(ident, ada["id"])])
        self.assertEqual(self.sql("SELECT system, account, external_id, contact_id FROM external_contacts"), [("google", "me", "x", ada["id"])])
        self.assertEqual(self.sql("SELECT count(*) FROM import_contacts"), [(0,)])

    async def test_faults(self) -> None:
        """Nothing is done: a stale version, an unknown contact, persons with organizations, a body without contact."""
        ada, bob, firm = await self.make(), await self.make(firstName="Bob"), await self.organization()
        mine = {"id": ada["id"], "version": 1}
        theirs = await self.make(self.person())
        self.refused(await self.merge({**mine, "version": 7}, bob), 409, 93040131006001)
        self.refused(await self.merge({"id": ada["id"]}, bob), 400, 92020131002001)
        self.refused(await self.merge(mine, theirs), 404, 91040131003003)
        self.refused(await self.merge({**mine, "id": theirs["id"]}, bob), 404, 91040131003003)
        self.refused(await self.merge(mine, imported=(bob["id"],)), 404, 91040131003003)
        self.refused(await self.merge(mine, firm), 400, 92010131002003)
        self.refused(await self.merge({"contactType": "organization", "name": "x"}, imported=(self.imported("x"),)), 400, 92010131002003)
        self.refused(await self.merge({"firstName": "x"}, bob), 400, 92020131002001)
        self.refused(await self.merge({**mine, "x": 1}, bob), 400, 92010131002005)
        self.refused(await self.merge("x", bob), 400, 92010131002003)
        self.refused(await self.merge({**mine, "id": 2**63}, bob), 400, 92010131002004)
        for body, code in (({}, 92020131002001), ({"contact": mine, "x": 1}, 92010131002005), ({"contact": mine, "contactIds": 5}, 92010131002003)):
            self.refused(await self.post("/v2/contacts?cmd=merge", self.me, body), 400, code)
        self.refused(await self.post("/v2/contacts", self.me, {}), 400, 92020131002001)
        self.refused(await self.post("/v2/contacts?cmd=x", self.me, {}), 400, 92010131002005)
        self.assertEqual((await self.get("/v2/contacts", self.me)).json, {"data": [ada, bob, firm]})

    async def test_all_faults(self) -> None:
        """Every fault of the body is named at once, those of the contact by their place in the body."""
        ada = await self.make()
        for contact, more, named in (
            ({"id": ada["id"], "x": 1, "gender": "?", "basicInfos": [{"type": "email"}]}, {"contactIds": 5, "y": 1},
             ["y", "contact.x", "contact.version", "contact.basicInfos[0].value", "contactIds", "contact.gender"]),
            ({}, {}, ["contact.contactType"]),
            ({"id": "x", "version": 1, "business": 5}, {}, ["contact.id", "contact.business"]),
            ({"id": ada["id"], "version": 1, "addresses": [{"id": 7}, {"id": 7}]}, {}, ["contact.addresses"]),
            (5, {"contactIds": "x"}, ["contact", "contactIds"]),
        ):
            reply = await self.post("/v2/contacts?cmd=merge", self.me, {"contact": contact, **more})
            self.assertEqual((reply.status, [f["attribute"] for f in reply.json["details"]]), (400, named), contact)

    async def test_too_much(self) -> None:
        """A merged contact has no longer lists than another."""
        ada, bob = [await self.make(tags=["%s%d" % (name, n) for n in range(150)]) for name in "ab"]
        self.refused(await self.merge({"id": ada["id"], "version": 1}, bob), 400, 92010131002004)


class Cleanup(MergeCase):
    """GET /v2/cleanup"""

    async def test_duplicates_and_conflicts(self) -> None:
        """Values of several contacts or import contacts; who has one, in any spelling."""
        ada, bob = await self.make(basicInfos=[PHONE, EMAIL]), await self.make(basicInfos=[{"type": "mobile", "value": "030 123456"}, PHONE])
        await self.put("/v2/basicInfos", self.me, EMAIL)
        self.assertEqual((await self.get("/v2/cleanup?cmd=getDuplicates", self.me)).json, ["+4930123456"])
        ident = self.imported("x", ("email", "A@example.org", "a@example.org"))
        self.assertEqual((await self.get("/v2/cleanup?cmd=getDuplicates", self.me)).json, ["+4930123456", "a@example.org"])
        self.assertEqual((await self.get("/v2/cleanup?cmd=getDuplicates", self.person())).json, [])
        for spelling in ("+4930123456", "%2B4930123456", "4930123456", "030%20123456", "0049-30-123456"):
            found = await self.get("/v2/cleanup?cmd=getConflicts&value=" + spelling, self.me)
            self.assertEqual(found.json, {"data": [ada, bob]}, spelling)
        found = await self.get("/v2/cleanup?cmd=getConflicts&value=A@EXAMPLE.org", self.me)
        self.assertEqual(found.json["data"][0], ada)
        other = found.json["data"][1]
        self.assertEqual((other["id"], other["importContact"], other["displayName"], other["firstName"]), (ident, True, "x", "x"))
        self.assertEqual(other["basicInfos"], [{"type": "email", "subtype": "other", "value": "A@example.org", "excluded": False}])
        self.assertLessEqual(ada.keys() - {"created", "changed"}, other.keys())
        self.assertEqual((await self.get("/v2/cleanup?cmd=getConflicts&value=nobody", self.me)).json, {"data": []})
        self.assertEqual((await self.get("/v2/contacts", self.me)).json, {"data": [ada, bob]})

    async def test_faults(self) -> None:
        """A missing or unknown command, a missing value."""
        self.refused(await self.get("/v2/cleanup", self.me), 400, 92020100902001)
        self.refused(await self.get("/v2/cleanup?cmd=x", self.me), 400, 92010100902005)
        self.refused(await self.get("/v2/cleanup?cmd=getConflicts", self.me), 400, 92020100902001)
        self.refused(await self.get("/v2/cleanup?cmd=getConflicts&value=", self.me), 400, 92010100902002)
        self.refused(await self.get("/v2/cleanup?cmd=getDuplicates&x=1", self.me), 400, 92010100902005)
        self.refused(await self.get("/v2/cleanup?cmd=getDuplicates"), 401, 94010100905001)
