"""Whose number it is: the rules of contract 6.4 one by one, with the complaints that other products get about them."""
from __future__ import annotations

from typing import Any

from tests.intake_case import IntakeCase, Owner


class MatchingCase(IntakeCase):
    """One user in Germany."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ann = self.owner("ann", self.company("DE", "2332"))

    async def reason(self, data: str | None, kind: str = "call-incoming", owner: Owner | None = None) -> list[tuple[str, str]]:
        """Reason and name of the match, or of each tentative."""
        frame = await self.rung(owner or self.ann, data, kind)
        self.assertFalse("match" in frame and "tentatives" in frame)
        found = [frame["match"]] if "match" in frame else frame.get("tentatives", [])
        return [(m["reason"], m["contactName"]) for m in found]

    def interaction(self) -> dict[str, Any]:
        """The columns of the newest interaction that say whose it is."""
        row = self.rows("SELECT basic_info_id, person_id, organization_id FROM interactions ORDER BY id DESC LIMIT 1")[0]
        return dict(zip(("info", "person", "organization"), row))

    def unassigned(self) -> list[tuple[Any, ...]]:
        """The basicInfos that were kept without a contact."""
        return self.rows("SELECT type, value, canon, ext FROM basic_infos WHERE contact_id IS NULL ORDER BY id")


class ExactTests(MatchingCase):
    """One contact, or one person with its organizations."""

    async def test_every_spelling_of_a_number_is_the_number(self) -> None:
        """Free-typed numbers match callers: E.164, bare digits, national, local, with brackets, slashes and blanks."""
        bea = self.contact(self.ann, "Bea", "02332/66 79-98")
        for spelling in ("+492332667998", "00492332667998", "02332667998", "+49 (0) 2332 667998", "667998", "(02332) 667 998", "tel:+49-2332-667998"):
            frame = await self.rung(self.ann, spelling)
            self.assertEqual((spelling, frame["match"]["contactId"], frame["match"]["reason"]), (spelling, bea, "exact"))
            self.assertNotIn("tentatives", frame)
        self.assertEqual(self.interaction()["person"], bea)
        self.assertEqual(self.unassigned(), [])

    async def test_a_person_s_other_numbers_match_too(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 1111")
        self.info(self.ann, "+49 171 2222222", bea, "mobile")
        self.info(self.ann, "+49 2332 3333", bea, "fax")
        for number in ("+4923321111", "+491712222222", "+4923323333"):
            self.assertEqual(await self.reason(number), [("exact", "Bea")])

    async def test_a_number_that_a_contact_holds_twice_is_one_match(self) -> None:
        self.contact(self.ann, "Bea", "+49 2332 1111", "02332 1111")
        self.assertEqual(await self.reason("+4923321111"), [("exact", "Bea")])

    async def test_the_match_says_all_about_the_contact(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 667998", last_name="Boe")
        acme = self.contact(self.ann, "Acme Ltd")
        self.belongs(self.ann, bea, acme)
        info = self.one("SELECT id FROM basic_infos")
        frame = await self.rung(self.ann, "+49 2332 667998")
        self.assertEqual(frame["match"], {"contactId": bea, "contactName": "Bea Boe", "contactType": "person", "basicInfoId": info,
                                          "basicInfoType": "phone", "organizationName": "Acme Ltd", "reason": "exact"})
        self.assertEqual(self.interaction(), {"info": info, "person": bea, "organization": None})

    async def test_of_several_organizations_none_is_named(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 667998")
        for name in ("Acme Ltd", "Beta Ltd"):
            self.belongs(self.ann, bea, self.contact(self.ann, name))
        self.assertNotIn("organizationName", (await self.rung(self.ann, "+49 2332 667998"))["match"])

    async def test_an_organization_alone_matches(self) -> None:
        acme = self.contact(self.ann, "Acme Ltd", "+49 2332 667998")
        frame = await self.rung(self.ann, "+49 2332 667998")
        self.assertEqual((frame["match"]["contactId"], frame["match"]["contactType"], frame["match"]["organizationName"]),
                         (acme, "organization", "Acme Ltd"))
        self.assertEqual(self.interaction()["organization"], acme)
        self.assertIsNone(self.interaction()["person"])

    async def test_a_person_and_its_organization_with_one_number_are_one_match(self) -> None:
        acme, bea = self.contact(self.ann, "Acme Ltd", "+49 2332 667998"), self.contact(self.ann, "Bea", "+49 2332 667998")
        self.belongs(self.ann, bea, acme)
        frame = await self.rung(self.ann, "+49 2332 667998")
        of_bea = self.one("SELECT id FROM basic_infos WHERE contact_id = %s", bea)
        match = frame["match"]
        self.assertEqual((match["contactId"], match["basicInfoId"], match["organizationName"]), (bea, of_bea, "Acme Ltd"))
        self.assertEqual(self.interaction(), {"info": of_bea, "person": bea, "organization": acme})

    async def test_a_person_with_all_its_organizations_is_one_match(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 667998")
        for name in ("Acme Ltd", "Beta Ltd"):
            self.belongs(self.ann, bea, self.contact(self.ann, name, "+49 2332 667998"))
        self.assertEqual(await self.reason("+49 2332 667998"), [("exact", "Bea")])
        self.assertIsNone(self.interaction()["organization"])

    async def test_a_picture_is_given_by_its_address(self) -> None:
        bea = self.contact(self.ann, "Bea", "+49 2332 667998")
        picture, key = self.rows("INSERT INTO pictures (user_id, contact_id, is_default) VALUES (%s, %s, true) RETURNING id, key",
                                 self.ann.id, bea)[0]
        frame = await self.rung(self.ann, "+49 2332 667998")
        self.assertEqual(frame["match"]["picture"], f"https://crm.example.org/v2/pictures/{picture}/image?k={key}")

    settings = {"http": {"public_url": "https://crm.example.org"}}

    async def test_somebody_else_s_contacts_are_nobody(self) -> None:
        self.contact(self.owner("bob"), "Bea", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [])

    async def test_an_address_matches_without_regard_to_case(self) -> None:
        self.contact(self.ann, "Bea", "Bea@Example.org", kind="email")
        self.assertEqual(await self.reason("bea@EXAMPLE.ORG", "email-incoming"), [("exact", "Bea")])

    async def test_a_text_message_is_matched_like_a_call(self) -> None:
        self.contact(self.ann, "Bea", "+49 171 2222222", kind="mobile")
        self.assertEqual(await self.reason("0171 2222222", "sms-incoming"), [("exact", "Bea")])


class SeveralTests(MatchingCase):
    """Shared numbers."""

    async def test_a_shared_landline_shows_all_who_share_it(self) -> None:
        """Two owners are no reason for no result."""
        bea, cyd = self.contact(self.ann, "Bea", "+49 2332 667998"), self.contact(self.ann, "Cyd", "02332 667998")
        frame = await self.rung(self.ann, "+49 2332 667998")
        self.assertNotIn("match", frame)
        self.assertEqual([(m["contactId"], m["reason"]) for m in frame["tentatives"]], [(bea, "several"), (cyd, "several")])
        self.assertEqual(self.interaction(), {"info": None, "person": None, "organization": None})
        self.assertEqual(self.unassigned(), [])

    async def test_a_person_and_a_strange_organization_are_several(self) -> None:
        self.contact(self.ann, "Acme Ltd", "+49 2332 667998")
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [("several", "Acme Ltd"), ("several", "Bea")])

    async def test_two_organizations_are_several(self) -> None:
        self.contact(self.ann, "Acme Ltd", "+49 2332 667998")
        self.contact(self.ann, "Beta Ltd", "+49 2332 667998")
        self.assertEqual(len(await self.reason("+49 2332 667998")), 2)

    async def test_at_most_ten(self) -> None:
        for number in range(12):
            self.contact(self.ann, f"Bea {number}", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [("several", f"Bea {number}") for number in range(10)])

    async def test_one_s_own_contact_outranks_a_shared_copy(self) -> None:
        bob = self.owner("bob")
        self.contact(self.ann, "Copy", "+49 2332 667998", shared_by=bob.id)
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [("exact", "Bea")])

    async def test_a_copy_that_one_shared_oneself_is_one_s_own(self) -> None:
        self.contact(self.ann, "Copy", "+49 2332 667998", shared_by=self.ann.id)
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.assertEqual(len(await self.reason("+49 2332 667998")), 2)

    async def test_copies_come_after_one_s_own_and_match_alone(self) -> None:
        bob = self.owner("bob")
        self.contact(self.ann, "Copy", "+49 2332 667998", shared_by=bob.id)
        self.assertEqual(await self.reason("+49 2332 667998"), [("exact", "Copy")])
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.contact(self.ann, "Cyd", "+49 2332 667998")
        self.assertEqual([name for _, name in await self.reason("+49 2332 667998")], ["Bea", "Cyd", "Copy"])


class SimilarTests(MatchingCase):
    """Numbers that are like the caller's."""

    async def test_another_extension(self) -> None:
        self.contact(self.ann, "Bea", "+49 2332 667998 ext. 12")
        self.assertEqual(await self.reason("+49 2332 667998;ext=14"), [("extension", "Bea")])
        self.assertEqual(await self.reason("+49 2332 667998;ext=12"), [("exact", "Bea")])
        self.assertEqual((await self.reason("+49 2332 667998"))[0], ("extension", "Bea"))

    async def test_an_organization_s_switchboard(self) -> None:
        self.contact(self.ann, "Acme Ltd", "+49 2332 6679")
        self.assertEqual((await self.reason("+49 2332 667998"))[0], ("switchboard", "Acme Ltd"))
        self.assertEqual((await self.reason("+49 2332 667912345"))[0], ("switchboard", "Acme Ltd"))
        self.assertNotIn(("switchboard", "Acme Ltd"), await self.reason("+49 2332 6679123456"))

    async def test_a_person_has_no_switchboard(self) -> None:
        self.contact(self.ann, "Bea", "+49 2332 6679")
        self.assertEqual(await self.reason("+49 2332 667998"), [])

    async def test_the_same_national_number_elsewhere(self) -> None:
        self.contact(self.ann, "Bea", "+49 30 12345678")
        self.assertEqual(await self.reason("+43 30 12345678"), [("national", "Bea")])

    async def test_the_last_eight_digits(self) -> None:
        self.contact(self.ann, "Bea", "+49 30 12345678")
        self.assertEqual(await self.reason("+49 89 12345678"), [("suffix", "Bea")])

    async def test_fewer_than_eight_digits_in_common_are_nothing(self) -> None:
        self.contact(self.ann, "Bea", "+49 30 1234567")
        self.assertEqual(await self.reason("+49 89 1234567"), [])

    async def test_brazil_s_ninth_digit(self) -> None:
        self.contact(self.ann, "Bea", "+55 11 98765-4321", kind="mobile")
        self.assertEqual([name for _, name in await self.reason("+55 11 8765-4321")], ["Bea"])

    async def test_mexico_s_1(self) -> None:
        self.contact(self.ann, "Bea", "+52 55 1234 5678", kind="mobile")
        self.assertEqual([name for _, name in await self.reason("+52 1 55 1234 5678")], ["Bea"])

    async def test_italian_zeros_stay(self) -> None:
        self.contact(self.ann, "Bea", "+39 06 1234 5678")
        self.assertEqual(await self.reason("+390612345678"), [("exact", "Bea")])
        self.assertNotEqual(await self.reason("+39612345678"), [("exact", "Bea")])

    async def test_the_best_come_first(self) -> None:
        """Extension, switchboard, national number, last digits; each contact once, for its best reason."""
        self.contact(self.ann, "Suffix", "+49 89 23456789")
        self.contact(self.ann, "National", "+43 30 23456789")
        self.contact(self.ann, "Board Ltd", "+49 30 234567")
        self.contact(self.ann, "Extension", "+49 30 23456789 ext. 5", "+49 89 23456789")
        self.assertEqual(await self.reason("+49 30 23456789"),
                         [("extension", "Extension"), ("switchboard", "Board Ltd"), ("national", "National"), ("suffix", "Suffix")])

    async def test_an_exact_match_leaves_no_room_for_the_similar(self) -> None:
        self.contact(self.ann, "Bea", "+49 30 23456789")
        self.contact(self.ann, "Cyd", "+49 89 23456789")
        self.assertEqual(await self.reason("+49 30 23456789"), [("exact", "Bea")])

    async def test_similar_addresses_are_nobody(self) -> None:
        self.contact(self.ann, "Bea", "bea@example.org", kind="email")
        self.assertEqual(await self.reason("bob@example.org", "email-incoming"), [])


class StrangerTests(MatchingCase):
    """Nobody known."""

    async def test_an_unknown_number_is_known_the_second_time(self) -> None:
        first = await self.rung(self.ann, "+49 2332 667998")
        self.assertNotIn("match", first)
        self.assertNotIn("tentatives", first)
        kept = self.interaction()["info"]
        self.assertEqual(self.unassigned(), [("phone", "+49 2332 667998", "+492332667998", "")])
        second = await self.rung(self.ann, "02332 667998")
        self.assertEqual(second["tentatives"], [{"contactName": "Unknown", "basicInfoId": kept, "reason": "unassigned"}])
        self.assertEqual(self.interaction()["info"], kept)
        self.assertEqual(len(self.unassigned()), 1)

    async def test_what_is_kept_by_kind(self) -> None:
        for data, kind in (("+49 171 2222222", "sms-incoming"), ("+49 2332 1111", "call-outgoing"), ("X@Example.org", "email-incoming"),
                           ("skype:x", "im-incoming")):
            await self.rung(self.ann, data, kind)
        self.assertEqual([(kind, value) for kind, value, *_ in self.unassigned()],
                         [("mobile", "+49 171 2222222"), ("phone", "+49 2332 1111"), ("email", "X@Example.org")])

    async def test_those_who_are_like_it_come_before_unknown(self) -> None:
        self.contact(self.ann, "Bea", "+49 30 12345678")
        await self.rung(self.ann, "+49 89 12345678")
        self.assertEqual(await self.reason("+49 89 12345678"), [("suffix", "Bea"), ("unassigned", "Unknown")])

    async def test_withheld_callers_are_events_without_match(self) -> None:
        """An anonymous call is no error, and nothing is kept of it."""
        for data in (None, "", "anonymous", "unknown", "private", "*31#", "sip:anonymous@anonymous.invalid", "+", "abc"):
            frame = await self.rung(self.ann, data)
            self.assertNotIn("match", frame)
            self.assertNotIn("tentatives", frame)
            self.assertEqual(frame.get("data"), data or None)
        self.assertEqual(self.unassigned(), [])
        self.assertEqual(self.stored(), 9)

    async def test_two_users_keep_the_same_number_each(self) -> None:
        await self.rung(self.ann, "+49 2332 667998")
        await self.rung(self.owner("bob"), "+49 2332 667998")
        self.assertEqual(len(self.unassigned()), 2)

    async def test_region_and_area_code_are_the_company_s(self) -> None:
        austrian = self.owner("bob", self.company("AT", "1"))
        self.contact(austrian, "Bea", "+43 1 234567")
        self.assertEqual(await self.reason("01 234567", owner=austrian), [("exact", "Bea")])
        self.assertEqual(await self.reason("234567", owner=austrian), [("exact", "Bea")])


class OwnNumberTests(MatchingCase):
    """A number of the user's own never matches somebody else."""

    async def test_calls_are_not_attached_to_the_company_s_own_line(self) -> None:
        """Every call shown as one's own outgoing number: the line is nobody's contact, and nothing is kept of it."""
        self.contact(self.ann, "Bea", "+49 2332 667998")
        company = self.one("SELECT company_id FROM users WHERE id = %s", self.ann.id)
        self.rows("INSERT INTO company_lines VALUES (%s, '+49 2332 667998', '+492332667998')", company)
        self.assertEqual(await self.reason("+49 2332 667998"), [])
        self.assertEqual(self.unassigned(), [])
        self.assertEqual(self.interaction(), {"info": None, "person": None, "organization": None})

    async def test_oneself_outranks_everybody(self) -> None:
        me = self.contact(self.ann, "Me", "+49 2332 667998", oneself=True)
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [("exact", "Me")])
        self.assertEqual(self.interaction()["person"], me)

    async def test_one_s_own_numbers_are_not_like_anybody_s(self) -> None:
        self.contact(self.ann, "Me", "+49 30 12345678", oneself=True)
        self.contact(self.ann, "Line Ltd", "+49 89 12345678")
        company = self.one("SELECT company_id FROM users WHERE id = %s", self.ann.id)
        self.rows("INSERT INTO company_lines VALUES (%s, '+49 89 12345678', '+498912345678')", company)
        self.assertEqual(await self.reason("+49 40 12345678"), [])

    async def test_another_company_s_line_is_a_number_like_others(self) -> None:
        self.rows("INSERT INTO company_lines VALUES (%s, '+49 2332 667998', '+492332667998')", self.company())
        self.contact(self.ann, "Bea", "+49 2332 667998")
        self.assertEqual(await self.reason("+49 2332 667998"), [("exact", "Bea")])
