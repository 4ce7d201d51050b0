"""A run of the tests fails for what its logs hold."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
TEST = """
from pathlib import Path
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from tests.leaks import keep
class Case(SynchronousTestCase):
    def test_it(self):
        Logger().info({said!r})
        keep("daemons.log", {kept!r})
"""


class Leaks(SynchronousTestCase):
    """scripts/trial.py on a test that logs something."""

    def run_with(self, said: str, kept: str = "") -> tuple[int, str]:
        """Exit status and output of a run whose only test logs this; `kept` comes from a process of its own."""
        place = Path(self.mktemp())
        place.mkdir()
        (place / "test_it.py").write_text(TEST.format(said=said, kept=kept))
        done = subprocess.run([sys.executable, str(ROOT / "scripts" / "trial.py"), "test_it"], cwd=place, capture_output=True, text=True,
                              env={"PYTHONPATH": f"{ROOT}:."})
        return done.returncode, done.stdout

    def test_found(self) -> None:
        """Each kind, in one log or another; the run fails, though its test passed."""
        token = "AbC1" * 10 + "xyz"
        for said, kept in (("a mail to ann@example.org", ""), ("", f"a token {token}"), ("a caller +492332667998", ""), ("", "a caller 02332667998"),
                           ("canary-secret", ""), ("", "$argon2id$v=19")):
            status, printed = self.run_with(said, kept)
            self.assertEqual((status, "[LEAK]" in printed, printed.splitlines()[-1]), (1, True, "1 passed, 1 failed"), (said, kept, printed))

    def test_nothing(self) -> None:
        """What logs may hold."""
        status, printed = self.run_with("GET /v2/notes/:id 200 7f3a9c1b2d4e5f60; admin@localhost; 2026-11-26T02:29:02+0000; 127.0.0.1:45001")
        self.assertEqual((status, printed.splitlines()[-1]), (0, "1 passed, 0 failed"), printed)
