"""GET /v2/contacts?q="""

from __future__ import annotations

from urllib.parse import quote

from tests.test_contacts import ContactCase


class Search(ContactCase):
    """Contacts are found by any part of what they hold."""

    async def found(self, q: str, more: str = "&projection=thin") -> list[str]:
        """The names of who is found, best first."""
        reply = await self.get("/v2/contacts?q=" + quote(q) + more, self.me)
        self.assertEqual(reply.status, 200, reply.json)
        return [contact["displayName"] for contact in reply.json["data"]]

    async def test_every_part(self) -> None:
        """Names, organizations, addresses, tags, terms, profiles, custom fields; prefix and infix, without case and accents."""
        firm = self.company()
        self.sql("UPDATE users SET company_id = %s WHERE id = %s", firm, self.me.id)
        field = self.sql("INSERT INTO custom_fields (company_id, name) VALUES (%s, 'size') RETURNING id", firm)[0][0]
        await self.make(
            firstName="Jürgen",
            lastName="Strauß",
            profession="Baker",
            basicInfos=[{"type": "email", "value": "js@example.org", "identifier": "office"}, {"type": "phone", "value": "030/123 456-78"}],
            addresses=[{"addressLine1": "Łąkowa 7", "zipCode": "10115", "city": "Ærø"}],
            tags=["golf club"],
            searchTerms=["Opa"],
            customFields=[{"id": field, "value": "XXL"}],
            profiles={"skype": {"username": "jstr"}},
        )
        await self.organization("Other GmbH", business="Steel")
        for q in (
            "jurgen",
            "JÜRG",
            "strauss",
            "urge",
            "jürgen strauß",
            "strauss jur",
            "baker",
            "EXAMPLE.org",
            "office",
            "lakowa",
            "aero",
            "10115",
            "golf",
            "club",
            "opa",
            "xxl",
            "jstr",
            "+49 30 12345678",
            "030 12345",
            "0049 (0)30-1234",
            "12345678",
            "4930",
        ):
            self.assertEqual(await self.found(q), ["Jürgen Strauß"], q)
        self.assertEqual(await self.found("steel"), ["Other GmbH"])
        for q in ("jurgen steel", "%", "_", "nobody", "999"):
            self.assertEqual(await self.found(q), [], q)

    async def test_ranked(self) -> None:
        """Who begins so, then a word of the name, then a word of anything, then what holds it; pages keep the order."""
        for names in (
            {"firstName": "Joanna"},
            {"firstName": "Bob", "tags": ["ann"]},
            {"firstName": "Mary", "lastName": "Ann"},
            {"firstName": "Anne"},
        ):
            await self.make(**names)
        ranked = ["Anne", "Mary Ann", "Bob", "Joanna"]
        self.assertEqual(await self.found("ann"), ranked)
        self.assertEqual(await self.found("ann", "&offset=1&limit=2"), ranked[1:3])
        self.assertEqual((await self.get("/v2/contacts?q=ann&limit=1&projection=flat", self.me)).json["totalLength"], 4)

    async def test_renewed(self) -> None:
        """What changes is found as it is now, in the same moment; other people's contacts never are."""
        made = await self.make(basicInfos=[{"type": "phone", "value": "030 1111"}])
        self.assertEqual(await self.found("ada"), ["Ada"])
        now = await self.changed(made, firstName="Grace", basicInfos=[])
        self.assertEqual((await self.found("ada"), await self.found("0301111"), await self.found("grace")), ([], [], ["Grace"]))
        kept = (await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 2222"})).entity
        now = await self.changed(now, basicInfos=[{"id": kept["id"]}])
        self.assertEqual(await self.found("302222"), ["Grace"])
        await self.post("/v2/basicInfos/%d" % kept["id"], self.me, {"value": "030 3333"})
        self.assertEqual((await self.found("302222"), await self.found("303333")), ([], ["Grace"]))
        await self.make(self.person(), firstName="Grace")
        self.assertEqual(await self.found("grace"), ["Grace"])
        await self.delete("/v2/contacts/%d" % now["id"], self.me)
        self.assertEqual(await self.found("grace"), [])

    async def test_spellings_of_numbers(self) -> None:
        """A number is found however it is written, and so is one that is none for the rules."""
        american = self.company("American")
        self.sql("UPDATE companies SET region = 'US' WHERE id = %s", american)
        self.me = self.person(company=american)
        for name, value in (("Berlin", "+49 30 123456 ext 78"), ("Home", "(202) 555-2846"), ("Inside", "12-34")):
            await self.make(firstName=name, basicInfos=[{"type": "phone", "value": value}])
        for q in ("011 49 30 123456", "+49 (0)30 123 456", "030/123456",
                  "+49 30 123456 ext. 78", "+4930123456;ext=78", "49\u201330\u00a0123456", "123456"):
            self.assertEqual(await self.found(q), ["Berlin"], q)
        for q in ("1 202 555 2846", "202.555.2846", "+1-202-555-2846", "\uff12\uff10\uff12 555", "001 202 5552846"):
            self.assertEqual(await self.found(q), ["Home"], q)
        for q in ("1234", "12-34", "123"):
            self.assertIn("Inside", await self.found(q), q)

    async def test_organizations(self) -> None:
        """A person is found by its organizations, as they are called now."""
        acme = await self.organization("ACME")
        ada = await self.make(relatedTo=[acme["id"]])
        self.assertEqual(await self.found("acme"), ["ACME", "Ada"])
        self.assertEqual(await self.found("acme ada"), ["Ada"])
        acme = await self.changed(await self.read(acme), organizationName="Umbrella")
        self.assertEqual((await self.found("acme"), await self.found("umbrella")), ([], ["Umbrella", "Ada"]))
        await self.changed(await self.read(acme), relatedTo=[])
        self.assertEqual(await self.found("umbrella"), ["Umbrella"])
        acme = await self.changed(await self.read(acme), relatedTo=[ada["id"]])
        self.assertEqual(await self.found("umbrella"), ["Umbrella", "Ada"])
        await self.delete("/v2/contacts/%d" % acme["id"], self.me)
        self.assertEqual(await self.found("umbrella"), [])

    async def test_words(self) -> None:
        """A word begins behind a hyphen too; other scripts have their case and accents folded as well."""
        for name in ("Rosemarie", "Anne-Marie", "\u0410\u043d\u0434\u0440\u0435\u0439", "\u039d\u03af\u03ba\u03bf\u03c2"):
            await self.make(firstName=name)
        self.assertEqual(await self.found("marie"), ["Anne-Marie", "Rosemarie"])
        self.assertEqual(await self.found("anne-marie"), ["Anne-Marie"])
        self.assertEqual(await self.found("\u0410\u041d\u0414\u0420\u0415\u0418"), ["\u0410\u043d\u0434\u0440\u0435\u0439"])
        self.assertEqual(await self.found("\u03bd\u03b9\u03ba"), ["\u039d\u03af\u03ba\u03bf\u03c2"])

    async def test_faults(self) -> None:
        """An empty query, one too long."""
        self.refused(await self.get("/v2/contacts?q=", self.me), 400, 92010101002002)
        self.refused(await self.get("/v2/contacts?q=%20", self.me), 400, 92010101002002)
        self.refused(await self.get("/v2/contacts?q=" + "x" * 101, self.me), 400, 92010101002004)
