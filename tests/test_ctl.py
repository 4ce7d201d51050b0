"""interactctl, with and without a running daemon."""

from __future__ import annotations

import subprocess

from twisted.trial.unittest import SynchronousTestCase

from interactd import cluster
from interactd.accounts import own_account
from interactd.migrate import migrations
from tests.daemons import Place
from tests.postgres import execute


class ControlTests(SynchronousTestCase):
    """Commands as an operator types them."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())

    def ctl(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """What a command printed, all streams together, when it ended with `status`."""
        command = [self.place.python, "-m", "interactd.ctl", *arguments]
        done = subprocess.run(command, cwd=self.place.folder, env=self.place.environ, input=stdin, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def test_without_daemon(self) -> None:
        """The database is started for the command and stopped after it."""
        self.assertIn("no state directory", self.ctl("user", "list", status=1))
        self.place.state.mkdir()
        self.assertIn("interactctl migrate", self.ctl("user", "list", status=1))
        first = migrations()[0].name
        self.assertIn(f"would apply {first}", self.ctl("migrate", "--dry-run"))
        self.assertIn(f"applied {first}", self.ctl("migrate"))
        self.assertEqual(self.ctl("migrate"), "the database is up to date\n")
        self.ctl("user", "add", "Erika@example.com", "--company", "ACME", "--role", "customer_admin", "--role", "user")
        self.ctl("user", "add", "max@example.com", "--company", "ACME", "--password-stdin", stdin="123456\n")
        rows = [line.split("\t")[1:] for line in self.ctl("user", "list").splitlines()]
        self.assertEqual(rows, [["Erika@example.com", "ACME", "customer_admin,user", "active"], ["max@example.com", "ACME", "user", "active"]])
        card = self.place.folder / "a.vcf"
        card.write_text("BEGIN:VCARD\nVERSION:3.0\nN:Lovelace;Ada;;;\nEND:VCARD\n")
        self.assertEqual(self.ctl("import", str(card), "--user", "max@example.com"), "1 created, 0 updated\n")
        self.assertIn("FN:Ada Lovelace", self.ctl("export", "--user", "max@example.com"))
        self.assertIn("google-client-id is not set", self.ctl("google-token", status=1))
        self.assertFalse((self.place.state / "postgres" / "data" / "postmaster.pid").exists())

    def test_beside_the_daemon(self) -> None:
        """With a running daemon the command works on its database and leaves it running."""
        daemon = self.place.daemon()
        server = self.place.server()
        said = self.ctl("user", "add", "erika@example.com")
        self.assertRegex(said, r"added erika@example.com with id \d+\nits password is \S{16}, to be changed at the first login\n")
        self.assertEqual(self.place.server(), server)
        self.assertIsNone(daemon.process.poll())
        url = cluster.running_url(self.place.state)
        assert url is not None
        self.assertEqual(execute(url, "SELECT must_change, password_hash LIKE '$argon2id$%%' FROM users WHERE email = 'erika@example.com'"),
                         [(True, True)])

    def test_password(self) -> None:
        """A new password ends the account's sessions, and is not to be changed if somebody chose it."""
        self.place.daemon()
        self.ctl("user", "add", "erika@example.com")
        url = cluster.running_url(self.place.state)
        assert url is not None
        execute(url, "INSERT INTO sessions (user_id, token_hash, scope, expires_at) SELECT id, 'x', 'csr', now() + '1 day' FROM users "
                     "WHERE email = 'erika@example.com' RETURNING 1")
        before = execute(url, "SELECT password_hash, auth_version FROM users WHERE email = 'erika@example.com'")[0]
        self.ctl("user", "password", "ERIKA@example.com", "--password-stdin", stdin="geheim7\n")
        after = execute(url, "SELECT password_hash, auth_version, must_change FROM users WHERE email = 'erika@example.com'")[0]
        self.assertNotEqual(after[0], before[0])
        self.assertEqual(after[1:], (before[1] + 1, False))
        self.assertEqual(execute(url, "SELECT count(*) FROM sessions"), [(0,)])

    def test_refusals(self) -> None:
        """What can not be done is said in one sentence."""
        self.place.daemon()
        self.assertEqual(self.ctl("user", "add", "erika", status=1), "interactctl: 'erika' is no e-mail address such as erika@example.com\n")
        self.assertIn("has 6 to 256 characters", self.ctl("user", "add", "e@x.de", "--password-stdin", stdin="12345\n", status=1))
        self.assertIn("already", self.ctl("user", "add", "ADMIN@localhost", status=1))
        self.assertIn("there is no account e@x.de", self.ctl("user", "password", "e@x.de", status=1))

    def test_check_config(self) -> None:
        """The configuration is checked without touching anything, and secrets are not shown."""
        file = self.place.folder / "interactd.conf"
        file.write_text("[limits]\nbatch = 64\n[database]\nurl = postgresql://me:pa55word@db/x\n")
        self.assertEqual(self.ctl("--config", str(file), "check-config"),
                         "[database] url = (secret)\n[limits] batch = 64\nthe configuration is good\n")
        file.write_text("[limits]\nbatch = no\n")
        self.assertIn("line 2: [limits] batch can not be 'no'", self.ctl("--config", str(file), "check-config", status=1))
        self.assertFalse(self.place.state.exists())
