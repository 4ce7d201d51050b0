"""The daemon as a process of its own, for the tests that kill it: as the account of the tests and, from root, as an ordinary one."""

from __future__ import annotations

import errno
import os
import pty
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable, Iterator

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from interactd import cluster
from interactd.accounts import Account, account_for, may, own_account
from tests.leaks import keep, keep_files
from tests.postgres import roomy

_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 60.0       # seconds until a process that hangs is killed, which fails its test


def ordinary_account() -> Account:
    """An account that is not root: that of the tests, or from root the one PostgreSQL runs under."""
    return account_for("") if os.geteuid() == 0 else own_account()


def third_account(*others: Account) -> Account:
    """An account that is neither root nor one of these."""
    known = {0, *(account.uid for account in others)}
    found = next((entry for entry in pwd.getpwall() if entry.pw_uid not in known), None)
    if os.geteuid() != 0 or found is None:
        raise SkipTest("only root can try what another account may do")
    return Account(found.pw_name, found.pw_uid, found.pw_gid, (found.pw_gid,))


def python_for(account: Account) -> tuple[str, dict[str, str]]:
    """An interpreter the account can start, and the environment in which that finds interactd and all it needs."""
    path = os.pathsep.join([str(_ROOT), *(p for p in sys.path if p.endswith("site-packages"))])
    for candidate in (sys.executable, shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin")):
        if candidate and may(account, Path(candidate).resolve(), os.R_OK | os.X_OK) and may(account, Path(candidate), os.X_OK):
            if all(may(account, Path(folder), os.R_OK | os.X_OK) for folder in path.split(os.pathsep)):
                return candidate, {"PATH": os.defpath, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    raise SkipTest(f"the account {account.name} can not reach Python, the tests or the installed packages")


def as_account(account: Account, work: Callable[[], None]) -> str:
    """What `work` raised when it ran in a process of that account: empty for nothing."""
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it did not end"
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            work()
            said = ""
        except BaseException as failure:
            said = str(failure)
        finally:
            os.write(mouth, said.encode())
            os._exit(0)
    os.close(mouth)
    with os.fdopen(ear) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


class Running:
    """A process and what it printed so far."""

    def __init__(self, case: SynchronousTestCase, command: list[str], account: Account, cwd: Path, environ: dict[str, str],
                 terminal: bool = False) -> None:
        switch = {} if account.is_ours else {"user": account.uid, "group": account.gid, "extra_groups": []}
        ear, mouth = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=mouth, stderr=mouth,
                                        start_new_session=True, **switch)      # type: ignore[call-overload]
        os.close(mouth)
        self._out = os.fdopen(ear, errors="replace")
        self.printed = ""
        self._reader: threading.Thread | None = None
        self._watchdog = threading.Timer(_PATIENCE, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        case.addCleanup(self._end)

    def until(self, pattern: str) -> re.Match[str]:
        """The first line from here on that has the pattern; AssertionError with all that was printed if there is none."""
        for line in self._lines():
            self.printed += line
            found = re.search(pattern, line)
            if found:
                return found
        raise AssertionError(f"{pattern!r} was never printed, but:\n{self.printed}")

    def _lines(self) -> Iterator[str]:
        try:
            for line in self._out:      # not `yield from`, which closes the file with the generator
                yield line
        except OSError as failure:
            if failure.errno != errno.EIO:      # how a terminal says that nobody is left on the other side
                raise

    def drain(self) -> None:
        """From here on what it prints is read as it comes, so that a talkative process never waits for its reader."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._lines():
            self.printed += line

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; answers the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; answers the exit status."""
        if self._reader is None:
            self._read()
        else:
            self._reader.join()
        return self.process.wait()

    def _end(self) -> None:
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._reader is not None:
            self._reader.join()
        self._out.close()
        if "interactd" in self.process.args:            # type: ignore[operator]    # twistd's command; other servers log as they like
            keep("daemons.log", self.printed)


class Place:
    """A folder with a state directory, and the account that runs daemons there."""

    def __init__(self, case: SynchronousTestCase, account: Account) -> None:
        self.case = case
        self.account = account
        self.folder = Path(tempfile.mkdtemp(prefix="interactd-test-", dir=roomy()))
        case.addCleanup(self._sweep)
        os.chown(self.folder, account.uid, account.gid)
        self.folder.chmod(0o755)
        self.state = self.folder / "var"
        self.python, self.environ = python_for(account)

    def run(self, *command: str, terminal: bool = False) -> Running:
        """Run a command of Python there."""
        return Running(self.case, [self.python, *command], self.account, self.folder, self.environ, terminal)

    def twistd(self, *options: str, terminal: bool = False) -> Running:
        """Run `twistd -n interactd`."""
        return self.run("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "interactd",
                        "--listen=tcp:0:interface=127.0.0.1", *options, terminal=terminal)

    def daemon(self) -> Running:
        """A daemon whose port is open."""
        running = self.twistd()
        running.until("interactd .* answers at")
        return running

    def _sweep(self) -> None:
        left = cluster.server_pid(self.state / "postgres" / "data")
        if left is not None:
            os.kill(left, signal.SIGQUIT)
        keep_files("postgresql.log", self.state / "postgres" / "log")
        shutil.rmtree(self.folder, ignore_errors=True)

    def server(self) -> int:
        """The process number of the PostgreSQL there."""
        return int((self.state / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
