"""What one event costs PostgreSQL by the size of the batch it comes in: `python benchmarks/bench_intake.py [DSN]`.

The database is made and dropped here (an embedded PostgreSQL unless a DSN is given): 10 000 users with ten contacts, a trigger
device, two receiving devices and one inactive device each. Every figure is the median of five runs on one connection, one
transaction a batch, from the daemon's own session settings.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import sys
import time
from typing import Any, Iterator

import orjson
import psycopg2

from interactd.events.numbers import version
from interactd.events.wire import SETTINGS
from tests.postgres import fresh_database

USERS = 10_000
RUNS = 5
VERSION = version("DE", "555")      # of the forms below: no timed work renews them while something is measured
SEED = """
INSERT INTO companies (name, region, area_code) SELECT 'company ' || g, 'DE', '555' FROM generate_series(1, 100) g;
INSERT INTO users (email, company_id) SELECT 'u' || g || '@example.org', 1 + g % 100 FROM generate_series(1, {users}) g ORDER BY g;
INSERT INTO trigger_devices (user_id, device_id, salt, key_id, clock_skews, token_hash)
  SELECT g, 'imei-' || g, '', '', '{0}', sha256(convert_to('tok-' || g, 'UTF8')) FROM generate_series(1, {users}) g;
INSERT INTO devices (user_id, device_id, canonical, active)
  SELECT g, n || g, n || g, n <> 'old-' FROM generate_series(1, {users}) g, unnest(ARRAY['imei-', 'desk-', 'pad-', 'old-']) n;
INSERT INTO contacts (user_id, contact_type, first_name, organization_name, seq)
  SELECT 1 + g % {users}, CASE WHEN g % 5 = 0 THEN 'organization' ELSE 'person' END, 'contact ' || g, 'contact ' || g, 0
  FROM generate_series(1, 10 * {users}) g ORDER BY g;
INSERT INTO contact_links SELECT 1 + g % {users}, g, g + {users} FROM generate_series(1, 9 * {users}) g WHERE g % 5 <> 0 AND (g + {users}) % 5 = 0;
INSERT INTO basic_infos (user_id, contact_id, type, value, canon, nsn, tail, canon_version)
  SELECT 1 + g % {users}, g, 'phone', '+49555' || lpad(g::text, 6, '0'), '+49555' || lpad(g::text, 6, '0'), '555' || lpad(g::text, 6, '0'),
    right('555' || lpad(g::text, 6, '0'), 8), {version} FROM generate_series(1, 10 * {users}) g;
INSERT INTO basic_infos (user_id, contact_id, type, value, canon, tail, canon_version)
  SELECT 1 + g % {users}, g, 'email', 'c' || g || '@example.org', 'c' || g || '@example.org', 'c' || g || '@example.org', {version}
  FROM generate_series(1, 10 * {users}) g;
""".replace("{users}", str(USERS)).replace("{version}", str(VERSION))


def event(place: int, user: int, stamp: int) -> dict[str, Any]:
    """A call from one of the user's own contacts (nine of ten) or from a stranger."""
    known = random.random() < 0.9
    digits = f"{(user - 1 or USERS) + USERS * random.randrange(9):06}" if known else f"9{random.randrange(10 ** 6):06}"
    return {"n": place, "hash": hashlib.sha256(f"tok-{user}".encode()).hexdigest(), "owner": user, "target": user, "region": "DE",
            "area_code": "555", "type": "call-incoming", "data": f"+49 555 {digits}", "time": stamp, "receiver_id": "line 1",
            "canon": f"+49555{digits}", "ext": "", "nsn": f"555{digits}", "tail": f"555{digits}"[-8:], "canon_version": 1, "kind": "phone",
            "listed": False, "call": f"{stamp}{random.random()}"}


def batches(size: int, count: int) -> Iterator[tuple[str, list[int]]]:
    """`count` batches of events of as many different users."""
    stamp = int(time.time() * 1000)
    for _ in range(count):
        users = random.sample(range(1, USERS + 1), size)
        yield orjson.dumps([event(place, user, stamp) for place, user in enumerate(users)]).decode(), sorted(users)


def once(cursor: Any, work: list[tuple[str, list[int]]]) -> float:
    """Seconds that a list of batches takes."""
    begin = time.perf_counter()
    for events, owners in work:
        cursor.execute("EXECUTE intake(%s, %s, false)", (events, owners))
        rows = cursor.fetchall()
        assert all(row[1] == "stored" for row in rows), rows
    return time.perf_counter() - begin


def main() -> None:
    """Print µs per event for batches of 1, 32 and 128, and the ratio to one event per call."""
    connection = psycopg2.connect(sys.argv[1] if len(sys.argv) > 1 else fresh_database())
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(SEED)
    cursor.execute("VACUUM ANALYZE")
    cursor.execute(SETTINGS)
    cursor.execute("PREPARE intake(jsonb, bigint[], boolean) AS SELECT * FROM intake($1, $2, $3)")
    once(cursor, list(batches(1, 50)))
    alone = 0.0
    print("batch   µs/event   events/s   times one by one")
    for size in (1, 32, 128):
        runs = [once(cursor, list(batches(size, max(4, 1024 // size)))) / (size * max(4, 1024 // size)) for _ in range(RUNS)]
        cost = statistics.median(runs)
        alone = alone or cost
        print(f"{size:5} {cost * 1e6:10.0f} {1 / cost:10.0f} {alone / cost:10.2f}")


if __name__ == "__main__":
    main()
