"""A short run of benchmarks/faults.py: whatever breaks, each event is seen once and in order by each device of its owner, by nobody else."""
from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from benchmarks.faults import judged, kept

ROOT = Path(__file__).resolve().parent.parent


class _Seen:
    def __init__(self, user: int, *seen: int) -> None:
        self.user, self.seen, self.resyncs, self.ended = user, [(n, n) for n in seen], 0, 0


class Faults(TestCase):
    """Connections cut at any byte, the daemon killed and restarted, PostgreSQL restarted, readers slow and frozen; and several nodes."""

    timeout = 300

    async def broken(self, *options: str) -> Any:
        """The counts of a run in which nothing went wrong, by kind of fault."""
        out, errors, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "benchmarks.faults", "--devices", "2", "--json", *options],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, path=str(ROOT))
        self.assertEqual(status, 0, out + errors)
        results = json.loads(out)
        for name, counts in results.items():
            self.assertGreater(counts["struck"], 0, name)
        return results

    async def test_all_kinds(self) -> None:
        """A few hundred events."""
        results = await self.broken("--events", "240", "--users", "4")
        self.assertEqual(len(results), 6)
        for name, counts in results.items():
            self.assertEqual((counts["seen"], counts["expected"]), (80, 80), name)

    async def test_nodes(self) -> None:
        """Two nodes: one is frozen, their bus is cut, its Redis killed."""
        if shutil.which("redis-server", path="/usr/bin:/bin") is None:
            raise SkipTest("there is no redis-server")
        results = await self.broken("--nodes", "2", "--bus", "redis", "--events", "60", "--users", "3", "--pace", "0.1",
                                    "--only", "node frozen", "--only", "bus", "--only", "Redis")
        self.assertEqual({name: counts["seen"] for name, counts in results.items()},
                         {"a node frozen": 40, "the bus cut": 40, "Redis, kill -9": 40})

    def test_what_is_found(self) -> None:
        """Lost, doubled, disordered and strayed events are counted as such: the run above can fail."""
        stored = {1: [(1, 1), (2, 2), (3, 3)]}
        for seen, fault in (((1, 2), "lost"), ((1, 2, 2, 3), "doubled"), ((1, 3, 2), "disordered"), ((1, 2, 3, 4), "strayed")):
            counts = judged([_Seen(1, *seen)], stored)     # type: ignore[list-item]
            self.assertEqual(counts[fault], 1, fault)
        counts = judged([_Seen(1, 1, 2, 3)], stored)       # type: ignore[list-item]
        self.assertEqual([counts[fault] for fault in ("lost", "doubled", "disordered", "strayed")], [0, 0, 0, 0])
        for answered, vanished, repeated in (([1, 2, 3], 0, 0), ([1, 2], 0, 1), ([1, 2, 3, 4], 1, 0), ([1, 2, 3, 3], 0, 1)):
            self.assertEqual(kept(answered, stored), {"vanished": vanished, "repeated": repeated})
