"""The kernel, through notes: the ordinary calls, their envelopes, their errors."""
from __future__ import annotations

from tests.api_case import ApiCase


class Notes(ApiCase):
    """An ordinary entity over HTTP."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person("me@example.org")
        self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
        self.contact = self.sql(
            "INSERT INTO contacts (user_id, contact_type, first_name, seq) VALUES (%s, 'person', 'Ada', 1) RETURNING id", self.me.id)[0][0]

    def note(self, message: str = "hello") -> dict[str, object]:
        return {"message": message, "relatedTo": {"id": self.contact, "type": "contact"}}

    async def test_life_of_a_note(self) -> None:
        """Created, listed, changed and deleted, each with its envelope and its activity."""
        made = await self.put("/v2/notes", self.me, self.note())
        self.assertEqual(made.status, 201, made.json)
        self.assertEqual(made.entity["relatedTo"], {"id": self.contact, "type": "contact", "displayName": "Ada"})
        changed = await self.post("/v2/notes/%d" % made.entity["id"], self.me, {"message": "later"})
        self.assertEqual((changed.status, changed.entity["message"]), (200, "later"))
        listed = await self.get("/v2/notes", self.me)
        self.assertEqual(listed.json, [changed.entity])
        paged = await self.get("/v2/notes?offset=0&limit=1", self.me)
        self.assertEqual(paged.json, {"data": [changed.entity], "length": 1, "startIndex": 0, "totalLength": 1})
        gone = await self.delete("/v2/notes/%d" % made.entity["id"], self.me)
        self.assertEqual((gone.status, gone.json), (200, {"code": 204, "devmsg": "success"}))
        self.assertEqual(self.sql("SELECT string_agg(action, ' ' ORDER BY id) FROM activities WHERE entity_type = 'note'")[0][0],
                         "insert update delete")
        self.assertEqual(self.sql("SELECT entity_type, entity_id FROM tombstones"), [("note", made.entity["id"])])

    async def test_faults(self) -> None:
        """Each fault has its own code."""
        self.refused(await self.put("/v2/notes", None, self.note()), 401, 94010124005001)
        self.refused(await self.put("/v2/notes", self.me, {**self.note(), "x": 1}), 400, 92010124002005)
        self.refused(await self.put("/v2/notes", self.me, {"message": "x"}), 400, 92020124002001)
        self.refused(await self.put("/v2/notes", self.me, {**self.note(), "message": 5}), 400, 92010124002003)
        self.refused(await self.put("/v2/notes", self.me, {**self.note(), "relatedTo": {"id": 999, "type": "contact"}}), 404, 91040124003003)
        self.refused(await self.post("/v2/notes/77", self.me, {"message": "x"}), 404, 91110114001001)
        self.refused(await self.delete("/v2/notes?ids=1,77", self.me), 404, 91110144001001)
        self.refused(await self.ask("PATCH", "/v2/notes", self.me), 405, 93000100001001)
        self.refused(await self.get("/v2/nothing", self.me), 404, 91000100001001)

    async def test_a_refused_write_burns_no_number(self) -> None:
        """What was refused leaves nothing behind."""
        before = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)
        await self.post("/v2/notes/77", self.me, {"message": "x"})
        self.assertEqual(self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id), before)

    async def test_jsonp(self) -> None:
        """The same answer as a script, errors too."""
        reply = await self.get("/v2/notes?callback=a.b", self.me)
        self.assertEqual((reply.status, reply.raw), (200, b"/**/a.b([]);"))
        wrong = await self.get("/v2/notes?callback=a(b", self.me)
        self.assertEqual((wrong.status, wrong.json["error"]), (400, 92010104002003))

    async def test_long_lists_come_in_pieces(self) -> None:
        """More rows than a slice holds are all there, in order."""
        self.sql("INSERT INTO notes (user_id, message, contact_id, seq) SELECT %s, 'n' || g, %s, 1 FROM generate_series(1, 1201) g",
                 self.me.id, self.contact)
        listed = await self.get("/v2/notes", self.me)
        self.assertEqual([n["message"] for n in listed.json], ["n%d" % g for g in range(1, 1202)])
        paged = await self.get("/v2/notes?offset=1&limit=1100", self.me)
        self.assertEqual((paged.json["length"], len(paged.json["data"]), paged.json["data"][-1]["message"]), (1100, 1100, "n1101"))
