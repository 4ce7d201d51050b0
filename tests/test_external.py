"""A PostgreSQL of the operator's own, of whatever versions this system has, instead of the embedded one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from interactd.accounts import own_account
from tests.daemons import Place, Running, ordinary_account
from tests.postgres import execute


def installed() -> list[Path]:
    """The program folders of the system's servers of version 15 to 18, as Debian lays them out."""
    return [path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if 15 <= int(path.parent.name) <= 18]


class ExternalTests(SynchronousTestCase):
    """The daemon on `[database] url = postgresql://…`."""

    def setUp(self) -> None:
        if not installed():
            raise SkipTest("this system has no PostgreSQL server of its own")
        self.account = ordinary_account()
        self.place = Place(self, own_account())

    def served(self, programs: Path) -> str:
        """The address of a new server of this version, which ends with the test."""
        folder = Path(tempfile.mkdtemp(prefix="interactd-pg-"))
        self.addCleanup(shutil.rmtree, folder, True)
        os.chown(folder, self.account.uid, self.account.gid)
        made = Running(self, [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "me", "-A", "trust", "-E", "UTF8", "--no-locale",
                              "--no-sync"], self.account, folder, {"PATH": os.defpath})
        self.assertEqual(made.wait(), 0, made.printed)
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-h", ""]
        server = Running(self, command, self.account, folder, {"PATH": os.defpath})
        server.until("ready to accept connections")
        self.addCleanup(server.stop, signal.SIGINT)
        address = f"postgresql://me@/postgres?host={folder}"
        execute(address, "CREATE ROLE interactd LOGIN")
        execute(address, "CREATE DATABASE interactd OWNER interactd")
        return f"postgresql://interactd@/interactd?host={folder}"

    def test_served(self) -> None:
        """Each version carries the schema and the daemon; nothing is started beside it; a second start finds all in place."""
        for programs in installed():
            self.place.environ["INTERACTD_DATABASE_URL"] = url = self.served(programs)
            first = self.place.daemon()
            self.assertIn("applied 0001_base.sql", first.printed)
            self.assertFalse((self.place.state / "postgres").exists())
            self.assertEqual(execute(url, "SELECT email FROM users"), [("admin@localhost",)])
            first.stop()
            self.assertNotIn("applied", self.place.daemon().printed)
            listed = subprocess.run([self.place.python, "-m", "interactd.ctl", "user", "list"], env=self.place.environ, text=True,
                                    cwd=self.place.folder, capture_output=True)
            self.assertIn("admin@localhost", listed.stdout, listed.stderr)
            shutil.rmtree(self.place.state, ignore_errors=True)

    def test_gone(self) -> None:
        """A database that can not be opened ends the start in one sentence, which holds no password."""
        self.place.environ["INTERACTD_DATABASE_URL"] = "postgresql://me:pa55word@/interactd?host=/does/not/exist"
        refused = self.place.twistd()
        self.assertEqual(refused.wait(), 1)
        self.assertIn("the database can not be opened", refused.printed)
        self.assertNotIn("pa55word", refused.printed)
        self.assertNotIn("Traceback", refused.printed)
