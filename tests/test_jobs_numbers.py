"""Renewing canonical forms."""

from __future__ import annotations

from interactd.jobs.numbers import renew
from interactd.jobs.timed import Jobs
from tests.test_contacts import ContactCase


class Renewal(ContactCase):
    """A company moves; the rules change."""

    async def setUp(self) -> None:
        """The daemon's own rounds are over: none renews what a test has just written."""
        await super().setUp()
        await next(service for service in self.parts.services if isinstance(service, Jobs)).stopService()

    async def test_a_region_changes(self) -> None:
        """Forms follow the company's region; others stay as they are; a second run finds nothing."""
        company = self.company()
        abroad = self.person(company=company)
        await self.make(abroad, basicInfos=[{"type": "phone", "value": "0171 3445566"}, {"type": "email", "value": "A@example.org"}])
        await self.make(basicInfos=[{"type": "phone", "value": "0171 3445566"}])
        self.assertEqual(await renew(self.parts.app.database, self.config), 0)
        self.sql("UPDATE companies SET region = 'GB'")
        before = self.sql("SELECT seq FROM counters ORDER BY user_id")
        self.assertEqual(await renew(self.parts.app.database, self.config), 2)
        forms = self.sql("SELECT canon FROM basic_infos ORDER BY id")
        self.assertEqual([form[0] for form in forms][1:], ["a@example.org", "+491713445566"])
        self.assertTrue(forms[0][0] != "+491713445566", forms)
        self.assertEqual(await renew(self.parts.app.database, self.config), 0)
        self.assertEqual(self.sql("SELECT seq FROM counters ORDER BY user_id"), before)

    async def test_many(self) -> None:
        """More than one batch, of values with and without a form."""
        self.sql(
            "INSERT INTO basic_infos (user_id, type, value) SELECT %s, 'phone', CASE WHEN g %% 50 = 0 THEN 'none' ELSE '030 ' || 200000 + g END "
            "FROM generate_series(1, 250) g",
            self.me.id,
        )
        self.assertEqual(await renew(self.parts.app.database, self.config), 250)
        self.assertEqual(self.sql("SELECT count(*), count(DISTINCT canon) FROM basic_infos WHERE canon_version <> 0"), [(250, 245)])

    async def test_twins(self) -> None:
        """Unassigned values that become equal are one: its events, what it excluded, its count."""
        self.sql(
            "INSERT INTO basic_infos (user_id, type, value, canon, excluded, excluded_count) VALUES (%s, 'phone', '030 123456', 'a', false, 1), "
            "(%s, 'phone', '+49 30 123456', 'b', true, 2), (%s, 'phone', '004930123456', 'c', false, 4)",
            *[self.me.id] * 3,
        )
        self.sql(
            "INSERT INTO interactions (user_id, type, time, sort_time, basic_info_id, created_seq, seq) "
            "SELECT user_id, 'call-incoming', 1, 1, id, 0, 0 FROM basic_infos",
        )
        self.assertEqual(await renew(self.parts.app.database, self.config), 3)
        kept = self.sql("SELECT id, value, canon, excluded, excluded_count FROM basic_infos")
        self.assertEqual([row[1:] for row in kept], [("030 123456", "+4930123456", True, 7)])
        self.assertEqual(self.sql("SELECT DISTINCT basic_info_id FROM interactions"), [(kept[0][0],)])
        self.assertEqual(self.sql("SELECT count(*) FROM interactions WHERE seq > 0"), [(2,)])

    async def test_import_contacts(self) -> None:
        """The values of import contacts too, in more than one batch."""
        self.sql("INSERT INTO import_contacts (id, user_id, system, account, external_id, card) VALUES (7, %s, 'x', 'x', 'x', '{}')", self.me.id)
        self.sql("INSERT INTO import_infos (user_id, import_contact_id, place, type, value) SELECT %s, 7, g, 'phone', '030 ' || 200000 + g "
                 "FROM generate_series(1, 150) g", self.me.id)
        self.assertEqual(await renew(self.parts.app.database, self.config), 150)
        self.assertEqual(self.sql("SELECT canon, tail FROM import_infos WHERE place = 150"), [("+4930200150", "30200150")])
        self.assertEqual(await renew(self.parts.app.database, self.config), 0)
