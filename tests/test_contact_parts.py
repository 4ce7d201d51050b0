"""What a contact is made of: lists that are patched by id, profiles, custom fields, relations; and what counts as its change."""

from __future__ import annotations

from typing import Any

from tests.test_contacts import NETWORKS, UNSET, ContactCase

PHONE = {"type": "phone", "value": "+49 30 123456"}


class Infos(ContactCase):
    """basicInfos inside a contact."""

    def forms(self) -> Any:
        """Value, canonical form and contact of all basicInfos."""
        return self.sql("SELECT value, canon, contact_id FROM basic_infos ORDER BY id")

    async def test_stored_with_their_form(self) -> None:
        """Each value as it was written, and the form it is compared by."""
        made = await self.make(
            basicInfos=[PHONE, {"type": "email", "value": "Ada@Example.ORG", "subtype": "work", "identifier": "main", "excluded": True}]
        )
        first, second = made["basicInfos"]
        self.assertEqual(first, {"id": first["id"], "type": "phone", "subtype": "other", "value": "+49 30 123456", "excluded": False})
        self.assertEqual(
            second, {"id": second["id"], "type": "email", "subtype": "work", "value": "Ada@Example.ORG", "identifier": "main", "excluded": True}
        )
        self.assertEqual(self.forms(), [("+49 30 123456", "+4930123456", made["id"]), ("Ada@Example.ORG", "ada@example.org", made["id"])])

    async def test_read_as_in_the_company_s_country(self) -> None:
        """National numbers are read by the company's region and area code, else by the configuration's."""
        abroad = self.company()
        self.sql("UPDATE companies SET region = 'US', area_code = '212' WHERE id = %s", abroad)
        await self.make(self.person(company=abroad), basicInfos=[{"type": "phone", "value": "(202) 555-2846"}])
        await self.make(basicInfos=[{"type": "mobile", "value": "0171 3445566"}])
        self.assertEqual([form[1] for form in self.forms()], ["+12025552846", "+491713445566"])

    async def test_patched_by_id(self) -> None:
        """Named ones stay and are patched, unnamed ones go, those without id are added."""
        made = await self.make(basicInfos=[PHONE, {"type": "fax", "value": "+49 30 99", "identifier": "x"}])
        kept = made["basicInfos"][1]["id"]
        now = await self.changed(made, basicInfos=[{"id": kept, "value": "+49 30 98"}, {"type": "website", "value": "http://www.example.org/"}])
        self.assertEqual(
            [(i["type"], i["value"], i.get("identifier")) for i in now["basicInfos"]],
            [("fax", "+49 30 98", "x"), ("website", "http://www.example.org/", None)],
        )
        self.assertEqual(now["basicInfos"][0]["id"], kept)
        self.assertEqual([form[1] for form in self.forms()], ["+493098", "https://example.org"])
        same = await self.changed(now, hot=True)
        self.assertEqual(same["basicInfos"], now["basicInfos"])
        self.assertEqual((await self.changed(same, basicInfos=None))["basicInfos"], [])

    async def test_a_type_alone(self) -> None:
        """A changed type gives the kept value another form."""
        made = await self.make(basicInfos=[{"type": "phone", "value": "ada@example.org"}])
        self.assertEqual(self.forms()[0][1], None)
        await self.changed(made, basicInfos=[{"id": made["basicInfos"][0]["id"], "type": "email"}])
        self.assertEqual(self.forms()[0][1], "ada@example.org")

    async def test_faults(self) -> None:
        """`type` and `value` can not be emptied; another contact's can not be named; nor one twice."""
        made, other = await self.make(basicInfos=[PHONE]), await self.make(basicInfos=[PHONE])
        mine = made["basicInfos"][0]["id"]
        self.refused(await self.update(other, basicInfos=[{"id": mine}]), 400, 93010111006002)
        self.refused(
            await self.put("/v2/contacts", self.me, {"contactType": "person", "lastName": "x", "basicInfos": [{"id": mine}]}), 400, 93010121006002
        )
        self.refused(await self.update(made, basicInfos=[{"id": mine, "value": ""}]), 400, 92010111002002)
        self.refused(await self.update(made, basicInfos=[{"id": mine, "type": None}]), 400, 92010111002002)
        self.refused(await self.update(made, basicInfos=[{"id": mine}, {"id": mine}]), 400, 92010111002003)
        self.refused(await self.update(made, basicInfos=[{"id": 4711}]), 404, 91020111003003)
        self.assertEqual(await self.read(made), made)

    async def test_unassigned_ones(self) -> None:
        """Assigned by id, or absorbed by the same canonical value; what they were keeps: id, excluded."""
        kept = [
            (await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": value, "excluded": True})).entity["id"]
            for value in ("030 11111", "030 22222")
        ]
        made = await self.make(basicInfos=[{"id": kept[0]}, {"type": "mobile", "value": "+493022222"}, {"type": "fax", "value": "+493022222"}])
        self.assertEqual(
            [(i["id"], i["type"], i["value"], i["excluded"]) for i in made["basicInfos"][:2]],
            [(kept[0], "phone", "030 11111", True), (kept[1], "mobile", "+493022222", True)],
        )
        self.assertEqual(len(made["basicInfos"]), 3)
        self.assertEqual(self.sql("SELECT count(*) FROM basic_infos WHERE contact_id IS NULL"), [(0,)])


class Others(ContactCase):
    """Addresses, profiles, tags, search terms, custom fields."""

    async def test_addresses(self) -> None:
        """Keys in any letter case; patched by id."""
        made = await self.make(
            addresses=[{"addressline1": "Str. 1", "ZIPCODE": "10115", "city": "Berlin"}, {"addressLine2": "Hof", "subtype": "home"}]
        )
        first, second = made["addresses"]
        self.assertEqual(first, {"id": first["id"], "addressLine1": "Str. 1", "zipCode": "10115", "city": "Berlin", "subtype": "other"})
        self.assertEqual(second, {"id": second["id"], "addressLine2": "Hof", "subtype": "home"})
        now = await self.changed(made, addresses=[{"id": second["id"], "city": "Wien"}, {"country": "AT"}])
        self.assertEqual(
            [{k: v for k, v in a.items() if k != "id"} for a in now["addresses"]],
            [{"addressLine2": "Hof", "city": "Wien", "subtype": "home"}, {"country": "AT", "subtype": "other"}],
        )
        other = await self.make(addresses=[{"city": "Rom"}])
        self.refused(await self.update(now, addresses=[{"id": other["addresses"][0]["id"]}]), 404, 91010111003003)

    async def test_profiles(self) -> None:
        """Always all ten; patched by network and attribute."""
        made = await self.make(profiles={"xing": {"connected": True, "username": "ada"}, "linkedIn": {"url": "https://l.example/ada"}})
        self.assertEqual(list(made["profiles"]), list(NETWORKS))
        self.assertEqual(made["profiles"]["linkedIn"], {"connected": False, "url": "https://l.example/ada"})
        now = await self.changed(made, profiles={"xing": {"url": "https://x.example"}, "linkedIn": None, "skype": {"username": "al"}})
        self.assertEqual(
            now["profiles"],
            {
                **dict.fromkeys(NETWORKS, UNSET),
                "xing": {"connected": True, "username": "ada", "url": "https://x.example"},
                "skype": {"connected": False, "username": "al"},
            },
        )
        self.assertEqual((await self.changed(now, profiles=None))["profiles"], dict.fromkeys(NETWORKS, UNSET))

    async def test_tags_and_terms(self) -> None:
        """Each once, sorted; the list sent is the whole list."""
        made = await self.make(tags=["b", "a", "b"], searchTerms=["y", "x"])
        self.assertEqual((made["tags"], made["searchTerms"]), (["a", "b"], ["x", "y"]))
        now = await self.changed(made, tags=["b", "c"], searchTerms=None)
        self.assertEqual((now["tags"], now["searchTerms"]), (["b", "c"], []))
        other = self.person()
        await self.make(tags=["d", "b"])
        self.assertEqual((await self.get("/v2/tags", self.me)).json, ["b", "c", "d"])
        self.assertEqual((await self.get("/v2/tags?offset=1&limit=1", self.me)).json, {"data": ["c"], "length": 1, "startIndex": 1, "totalLength": 3})
        self.assertEqual((await self.get("/v2/tags", other)).json, [])
        self.refused(await self.get("/v2/tags"), 401, 94010105005001)

    async def test_custom_fields(self) -> None:
        """Values of the company's fields; another company's are not there."""
        mine, theirs = self.company(), self.company("Other")
        fields = [
            self.sql("INSERT INTO custom_fields (company_id, name) VALUES (%s, %s) RETURNING id", company, name)[0][0]
            for company, name in ((mine, "size"), (mine, "colour"), (theirs, "size"))
        ]
        self.sql("UPDATE users SET company_id = %s WHERE id = %s", mine, self.me.id)
        made = await self.make(customFields=[{"id": fields[0], "name": "ignored", "value": "XL"}, {"id": fields[1], "value": "red"}])
        self.assertEqual(
            made["customFields"], [{"id": fields[0], "name": "size", "value": "XL"}, {"id": fields[1], "name": "colour", "value": "red"}]
        )
        now = await self.changed(made, customFields=[{"id": fields[0]}, {"id": fields[1], "value": ""}])
        self.assertEqual(now["customFields"], [{"id": fields[0], "name": "size", "value": "XL"}])
        self.refused(await self.update(now, customFields=[{"id": fields[2], "value": "x"}]), 404, 91000111003003)
        self.assertEqual((await self.changed(now, customFields=[]))["customFields"], [])

    async def test_relations(self) -> None:
        """Person and organization, seen from both sides; both versions rise, once."""
        ada, firm, bob = await self.make(), await self.organization(), await self.make(firstName="Bob")
        now = await self.changed(ada, relatedTo=[firm["id"]])
        self.assertEqual((now["relatedTo"], now["version"]), ([firm["id"]], 2))
        other = await self.read(firm)
        self.assertEqual((other["relatedTo"], other["version"]), ([ada["id"]], 2))
        both = await self.changed(other, relatedTo=[ada["id"], bob["id"]])
        self.assertEqual((both["relatedTo"], both["version"]), ([ada["id"], bob["id"]], 3))
        self.assertEqual([(await self.read(c))["version"] for c in (ada, bob)], [2, 2])
        self.assertEqual((await self.changed(both, relatedTo=None))["relatedTo"], [])
        self.assertEqual([(await self.read(c))["version"] for c in (ada, bob)], [3, 3])
        self.refused(await self.update(await self.read(ada), relatedTo=[bob["id"]]), 400, 92010111002003)
        made = await self.make(relatedTo=[firm["id"]])
        self.assertEqual((made["version"], (await self.read(firm))["relatedTo"]), (1, [made["id"]]))


class Projections(ContactCase):
    """base, thin, flat."""

    async def test_thin(self) -> None:
        """The name of the only one on the other side, their number when several, nothing when none."""
        ada, firm = await self.make(hot=True), await self.organization()
        thin = {"id": ada["id"], "version": 1, "contactType": "person", "displayName": "Ada", "hot": True}
        self.assertEqual(await self.read(ada, "thin"), thin)
        ada = await self.changed(ada, relatedTo=[firm["id"]])
        self.assertEqual(await self.read(ada, "thin"), {**thin, "version": 2, "extra": "ACME"})
        self.assertEqual((await self.read(firm, "thin"))["extra"], "Ada")
        other = await self.organization("Beta")
        ada = await self.changed(ada, relatedTo=[firm["id"], other["id"]])
        self.sql("INSERT INTO pictures (user_id, contact_id, is_default, key) VALUES (%s, %s, true, 'k')", self.me.id, ada["id"])
        listed = (await self.get("/v2/contacts?projection=thin", self.me)).json["data"]
        picture = self.sql("SELECT id FROM pictures")[0][0]
        self.assertEqual(listed[0], {**thin, "version": 3, "extra": 2, "picture": "/v2/pictures/%d/image?k=k" % picture})
        self.assertEqual([c.get("extra") for c in listed], [2, "Ada", "Ada"])

    async def test_flat(self) -> None:
        """As base, without nesting."""
        made = await self.make(
            basicInfos=[PHONE, {"type": "email", "value": "a@example.org"}, {"type": "phone", "value": "5"}],
            addresses=[{"addressLine1": "Str. 1", "zipCode": "10115", "city": "Berlin", "country": "DE"}],
            profiles={"xing": {"username": "ada"}, "skype": {"username": "s", "url": "https://s.example"}, "aim": {"connected": True}},
            tags=["t"],
        )
        self.sql("INSERT INTO pictures (user_id, contact_id, key) VALUES (%s, %s, 'k')", self.me.id, made["id"])
        base = await self.read(made)
        flat = await self.read(made, "flat")
        del base["basicInfos"]
        self.assertEqual(
            flat,
            {
                **base,
                "phone": ["+49 30 123456", "5"],
                "email": ["a@example.org"],
                "mobile": [],
                "fax": [],
                "website": [],
                "addresses": ["Str. 1, 10115 Berlin, DE"],
                "profiles": {"skype": "https://s.example", "xing": "ada"},
                "customFields": {},
                "pictures": [base["pictures"][0]["url"]],
            },
        )
        self.assertEqual((await self.get("/v2/contacts?projection=flat", self.me)).json, {"data": [flat]})


class Changes(ContactCase):
    """What hangs on a contact is a change of it for sync, not of its version."""

    async def test_children(self) -> None:
        """Every kind of child, added, changed and removed, past the calls; what an event does to unassigned or excluded ones is none."""
        made = await self.make(basicInfos=[PHONE])
        mine = (self.me.id, made["id"])
        statements = [
            "UPDATE basic_infos SET subtype = 'home' WHERE user_id = %s AND contact_id = %s",
            "DELETE FROM basic_infos WHERE user_id = %s AND contact_id = %s",
            *(
                "INSERT INTO %s (user_id, contact_id, %s) VALUES (%%s, %%s, '%s')" % child
                for child in (
                    ("basic_infos", "type, value", "phone', '1"),
                    ("addresses", "city", "x"),
                    ("contact_profiles", "network", "xing"),
                    ("contact_tags", "tag", "x"),
                    ("contact_search_terms", "term", "x"),
                    ("pictures", "type", "google"),
                )
            ),
            "UPDATE pictures SET is_default = true WHERE user_id = %s AND contact_id = %s",
            "DELETE FROM pictures WHERE user_id = %s AND contact_id = %s",
            "INSERT INTO notes (user_id, contact_id, message, seq) VALUES (%s, %s, 'x', 0)",
            "DELETE FROM notes WHERE user_id = %s AND contact_id = %s",
            "INSERT INTO deals (user_id, contact_id, name, seq) VALUES (%s, %s, 'x', 0)",
            "DELETE FROM deals WHERE user_id = %s AND contact_id = %s",
            "INSERT INTO interactions (user_id, person_id, type, time, sort_time, created_seq, seq) "
            "SELECT c.user_id, c.id, 'call-incoming', 1, 1, n.seq, n.seq FROM contacts c JOIN counters n USING (user_id) "
            "WHERE c.user_id = %s AND c.id = %s",
            "UPDATE interactions SET person_id = NULL WHERE user_id = %s AND person_id = %s",
        ]
        for statement in statements:
            self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
            self.assertEqual(self.number(made), -1)
            self.sql(statement, *mine)
            self.assertEqual(self.number(made), 0, statement)
        self.assertEqual((await self.read(made))["version"], 1)
        self.sql("SELECT take(ARRAY[%s::bigint])", self.me.id)
        self.sql("UPDATE basic_infos SET excluded_count = 7 WHERE contact_id = %s", made["id"])
        self.sql("INSERT INTO basic_infos (user_id, type, value) VALUES (%s, 'phone', '1')", self.me.id)
        self.sql("UPDATE interactions SET status = 'missed'")
        self.assertEqual(self.number(made), -1)

    async def test_tasks(self) -> None:
        """A task counts for its contact; losing its contact or a number counts for the task, in both users' numbers."""
        firm = self.company()
        colleague = self.person(company=firm)
        made = await self.make(basicInfos=[PHONE])
        task = self.sql(
            "INSERT INTO tasks (user_id, title, assigned_to_id, contact_id, seq, assigned_seq) VALUES (%s, 't', %s, %s, 0, 0) RETURNING id",
            self.me.id,
            colleague.id,
            made["id"],
        )[0][0]
        self.sql("INSERT INTO task_numbers VALUES (%s, %s, %s)", self.me.id, task, made["basicInfos"][0]["id"])
        self.assertEqual((await self.read(made))["tasks"], [task])
        numbers = """SELECT t.seq = o.seq AND t.assigned_seq = a.seq, t.contact_id FROM tasks t, counters o, counters a
          WHERE o.user_id = t.user_id AND a.user_id = assigned_to_id"""
        now = await self.changed(made, basicInfos=[])
        self.assertEqual(self.sql(numbers), [(True, made["id"])])
        await self.delete("/v2/contacts/%d" % now["id"], self.me)
        self.assertEqual(self.sql(numbers), [(True, None)])

    async def test_states_hold_no_picture_addresses(self) -> None:
        """Whoever reads activities can not load pictures by them."""
        made = await self.make()
        self.sql("INSERT INTO pictures (user_id, contact_id, key) VALUES (%s, %s, 'secret')", self.me.id, made["id"])
        now = await self.changed(made, hot=True)
        self.assertIn("secret", now["pictures"][0]["url"])
        states = self.sql(
            "SELECT new_state->'pictures', coalesce(old_state::text, '') || new_state::text LIKE '%%secret%%' FROM activities ORDER BY id"
        )
        self.assertEqual(states, [([], False), ([{"type": "interact"}], False)])
