"""A short run of benchmarks/faults.py: whatever breaks, each event is seen once and in order by each device of its owner, by nobody else."""
from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from benchmarks.faults import judged

ROOT = Path(__file__).resolve().parent.parent


class _Seen:
    def __init__(self, user: int, *seen: int) -> None:
        self.user, self.seen, self.resyncs, self.ended = user, [(n, n) for n in seen], 0, 0


class Faults(TestCase):
    """Connections cut at any byte, the daemon killed and restarted, PostgreSQL restarted, readers slow and frozen."""

    timeout = 300

    async def test_all_kinds(self) -> None:
        """A few hundred events."""
        out, errors, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "benchmarks.faults", "--events", "240", "--users", "4", "--devices", "2", "--json"],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, path=str(ROOT))
        self.assertEqual(status, 0, out + errors)
        results = json.loads(out)
        self.assertEqual(len(results), 6)
        for name, counts in results.items():
            self.assertEqual((counts["seen"], counts["expected"]), (80, 80), name)
            self.assertGreater(counts["struck"], 0, name)

    def test_what_is_found(self) -> None:
        """Lost, doubled, disordered and strayed events are counted as such: the run above can fail."""
        stored = {1: [(1, 1), (2, 2), (3, 3)]}
        for seen, fault in (((1, 2), "lost"), ((1, 2, 2, 3), "doubled"), ((1, 3, 2), "disordered"), ((1, 2, 3, 4), "strayed")):
            counts = judged([_Seen(1, *seen)], stored)     # type: ignore[list-item]
            self.assertEqual(counts[fault], 1, fault)
        counts = judged([_Seen(1, 1, 2, 3)], stored)       # type: ignore[list-item]
        self.assertEqual([counts[fault] for fault in ("lost", "doubled", "disordered", "strayed")], [0, 0, 0, 0])
