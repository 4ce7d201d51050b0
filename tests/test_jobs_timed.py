"""The timed work: what expired is gone, numbers follow a company's region."""
from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from interactd.changes import Hub
from interactd.jobs.timed import EVERY, Jobs
from tests.api_case import ApiCase


class Timed(ApiCase):
    """Jobs on the database of an API."""

    async def finished(self, jobs: Jobs) -> None:
        """The round under way has ended."""
        assert jobs._running is not None
        ended: Deferred[None] = Deferred()
        jobs._running.addBoth(ended.callback)
        await ended

    async def test_expiry(self) -> None:
        """What is older than it counts goes every hour, what counts stays."""
        me = self.person()
        for days in (1, 4):
            self.sql("INSERT INTO event_keys (user_id, key, event_time, at) VALUES (%s, %s, 0, now() - make_interval(days => %s))",
                     me.id, f"k{days}", days)
        for days in (80, 100):
            self.sql("INSERT INTO tombstones (user_id, entity_type, entity_id, seq, at) "
                     "VALUES (%s, 'note', %s, 1, now() - make_interval(days => %s))", me.id, days, days)
        clock = Clock()
        jobs = Jobs(clock, self.parts.app.database, self.config, Hub())
        jobs.startService()
        await self.finished(jobs)
        self.assertEqual(self.sql("SELECT key FROM event_keys"), [("k1",)])
        self.assertEqual(self.sql("SELECT entity_id FROM tombstones"), [(80,)])
        self.sql("UPDATE event_keys SET at = now() - interval '4 days'")
        clock.advance(EVERY)
        await self.finished(jobs)
        self.assertEqual(self.sql("SELECT key FROM event_keys"), [])
        await jobs.stopService()

    async def test_stop(self) -> None:
        """A stop waits for a batch of numbers, not for all of them."""
        me = self.person()
        self.sql("INSERT INTO basic_infos (user_id, type, value) SELECT %s, 'phone', '030 ' || 200000 + g FROM generate_series(1, 1000) g", me.id)
        jobs = Jobs(Clock(), self.parts.app.database, self.config, Hub())
        jobs.startService()
        await jobs.stopService()
        self.assertGreater(self.sql("SELECT count(*) FROM basic_infos WHERE canon_version = 0")[0][0], 500)

    async def test_region(self) -> None:
        """When an administrator sets the company's region, numbers kept before are read by it."""
        company = self.company()
        root = self.person(roles=("interact_admin",))
        me = self.person(company=company)
        ada = {"contactType": "person", "firstName": "Ada", "basicInfos": [{"type": "phone", "value": "01 234 5678"}]}
        made = await self.put("/v2/contacts", me, ada)
        self.assertEqual(made.status, 201, made.json)
        jobs = next(service for service in self.parts.services if isinstance(service, Jobs))
        changed = await self.post("/v2/admin/companies/%d" % company, root, {"region": "AT"})
        self.assertEqual(changed.status, 200, changed.json)
        while jobs._running is not None:            # a round may have been under way, and another follows it
            await self.finished(jobs)
        self.assertEqual(self.sql("SELECT canon FROM basic_infos"), [("+4312345678",)])
