"""interactd as somebody installs it: from the wheel in a folder of its own, and from its .tac file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from interactd import __version__
from interactd.accounts import own_account
from tests.daemons import Place, Running

ROOT = Path(__file__).resolve().parent.parent


class InstallTests(SynchronousTestCase):
    """`pip install .` in a clean virtual environment, then twistd from another folder."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())
        self.venv = self.place.folder / "venv"
        self.environ = {"PATH": os.defpath, "HOME": str(self.place.folder), "PYTHONUNBUFFERED": "1"}

    def install(self) -> None:
        """Install a copy of the checkout, and all it needs, into an environment of its own."""
        sources = self.place.folder / "sources"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "var", "_trial_temp*", "dropin.cache")
        shutil.copytree(ROOT, sources, ignore=ignored)
        venv.create(self.venv, with_pip=True)
        made = subprocess.run([self.venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(sources)],
                              env={**os.environ, "PYTHONPATH": ""}, cwd=self.place.folder, capture_output=True, text=True)
        if made.returncode and "No matching distribution" in made.stderr:
            raise SkipTest("no package index: " + made.stderr.strip().splitlines()[-1])
        self.assertEqual(made.returncode, 0, made.stderr)
        shutil.rmtree(sources)

    def started(self, *command: str) -> Running:
        """A daemon started with this command in an empty folder, when its port is open."""
        folder = Path(tempfile.mkdtemp(dir=self.place.folder))
        folder.chmod(0o755)
        self.place.state = folder / "var"
        running = Running(self, [*command], self.place.account, folder, self.environ)
        running.until(f"interactd {__version__} answers at")
        return running

    def test_installed(self) -> None:
        """twistd finds the plugin from any folder, the schema is in the package, and interactctl is on the path."""
        self.install()
        python = str(self.venv / "bin" / "python")
        where = subprocess.run([python, "-c", "import interactd; print(interactd.__file__)"], env=self.environ, cwd="/", capture_output=True,
                               text=True)
        self.assertIn(str(self.venv), where.stdout)
        daemon = self.started(python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "interactd",
                              "--listen=tcp:0:interface=127.0.0.1")
        self.assertIn("applied 0001_base.sql", daemon.printed)
        listed = subprocess.run([self.venv / "bin" / "interactctl", "user", "list"], env=self.environ, cwd=self.place.state.parent,
                                capture_output=True, text=True)
        self.assertIn("admin@localhost", listed.stdout, listed.stderr)

    def test_tac(self) -> None:
        """twistd -ny interactd.tac runs the same daemon."""
        self.environ.update(self.place.environ, INTERACTD_HTTP_LISTEN="tcp:0:interface=127.0.0.1")
        self.started(self.place.python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "-y",
                     str(ROOT / "interactd.tac"))

    def test_wrong_configuration(self) -> None:
        """A wrong configuration ends twistd with status 1 and the fault, before anything is touched."""
        refused = self.place.twistd("--config", "/does/not/exist.conf")
        self.assertEqual(refused.wait(), 1)
        self.assertEqual(refused.printed, "interactd does not start.\n/does/not/exist.conf can not be read: No such file or directory\n")
        self.assertFalse(self.place.state.exists())
