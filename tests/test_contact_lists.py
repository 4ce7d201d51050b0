"""The lists under a contact."""
from __future__ import annotations

from tests.test_contacts import NETWORKS, UNSET, ContactCase

REALMS = {"contacts": 103, "profiles": 107, "searchTerms": 108, "tags": 109, "notes": 106, "interactions": 105, "pictures": 100}


class Lists(ContactCase):
    """GET /v2/contacts/:id/…"""

    async def test_unknown(self) -> None:
        """An unknown contact, or somebody else's, is 404 in the list's own realm."""
        theirs = await self.make(self.person())
        for name, realm in REALMS.items():
            for ident in (theirs["id"], 4711):
                self.refused(await self.get("/v2/contacts/%d/%s" % (ident, name), self.me), 404, 91040100001001 + realm * 10000)
            self.refused(await self.get("/v2/contacts/1/" + name), 401, 94010100005001 + realm * 10000)
            self.refused(await self.get("/v2/contacts/1/%s?x=1" % name, self.me), 400, 92010100002005 + realm * 10000)

    async def test_contacts(self) -> None:
        """Those on the other side, in a projection, always in `data`."""
        firm, ada, bob = await self.organization(), await self.make(), await self.make(firstName="Bob")
        await self.changed(firm, relatedTo=[ada["id"], bob["id"]])
        path = "/v2/contacts/%d/contacts" % firm["id"]
        self.assertEqual((await self.get(path, self.me)).json, {"data": [await self.read(ada), await self.read(bob)]})
        thin = (await self.get(path + "?projection=thin", self.me)).json
        self.assertEqual(thin, {"data": [await self.read(ada, "thin"), await self.read(bob, "thin")]})
        page = (await self.get(path + "?projection=thin&offset=1", self.me)).json
        self.assertEqual(page, {"data": thin["data"][1:], "length": 1, "startIndex": 1, "totalLength": 2})
        flat = (await self.get("/v2/contacts/%d/contacts?projection=flat" % ada["id"], self.me)).json
        self.assertEqual(flat, {"data": [await self.read(firm, "flat")]})
        self.refused(await self.get(path + "?projection=fat", self.me), 400, 92010101032003)

    async def test_own_parts(self) -> None:
        """Profiles as one object; tags and search terms as texts, sorted."""
        made = await self.make(tags=["b", "a"], searchTerms=["y", "x"], profiles={"xing": {"connected": True}})
        path = "/v2/contacts/%d/" % made["id"]
        self.assertEqual((await self.get(path + "profiles", self.me)).json, {**dict.fromkeys(NETWORKS, UNSET), "xing": {"connected": True}})
        self.assertEqual((await self.get(path + "tags", self.me)).json, ["a", "b"])
        self.assertEqual((await self.get(path + "searchTerms", self.me)).json, ["x", "y"])
        self.assertEqual((await self.get(path + "tags?limit=1", self.me)).json, {"data": ["a"], "length": 1, "startIndex": 0, "totalLength": 2})

    async def test_notes(self) -> None:
        """The contact's own notes only, as in the list of all."""
        made, other = await self.make(), await self.make()
        for contact in (made, other):
            await self.put("/v2/notes", self.me, {"message": "x", "relatedTo": {"id": contact["id"], "type": "contact"}})
        every = (await self.get("/v2/notes", self.me)).json
        self.assertEqual((await self.get("/v2/contacts/%d/notes" % made["id"], self.me)).json, every[:1])
        self.assertEqual((await self.read(made))["notes"], [every[0]["id"]])

    async def test_interactions(self) -> None:
        """Those with the person or the organization, newest first, as in the list of all."""
        ada, firm, bob = await self.make(), await self.organization(), await self.make(firstName="Bob")
        for time, person, organization in ((1, ada["id"], None), (3, ada["id"], firm["id"]), (2, bob["id"], firm["id"]), (4, None, None)):
            self.sql(
                "INSERT INTO interactions (user_id, type, time, sort_time, person_id, organization_id, created_seq, seq) "
                "VALUES (%s, 'call-incoming', %s, %s, %s, %s, 0, 0)",
                *(self.me.id, time, time, person, organization),
            )
        every = {i["time"]: i for i in (await self.get("/v2/interactions", self.me)).json}
        for contact, times in ((ada, [3, 1]), (firm, [3, 2]), (bob, [2])):
            path = "/v2/contacts/%d/interactions" % contact["id"]
            self.assertEqual((await self.get(path, self.me)).json, [every[time] for time in times])
        page = (await self.get("/v2/contacts/%d/interactions?offset=1&limit=5" % ada["id"], self.me)).json
        self.assertEqual(page, {"data": [every[1]], "length": 1, "startIndex": 1, "totalLength": 2})
