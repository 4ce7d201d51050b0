"""The daemon's frame: the order of its services, its clock, its log, and how it greets whoever starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from interactd.accounts import own_account
from interactd.order import InOrder
from interactd.service import Options
from tests.daemons import Place

CLOCK = """
import time
real, ahead = time.time, 0
time.time = lambda: real() + ahead      # before Twisted takes it
from twisted.internet import reactor
from interactd.service import use_monotonic_time
use_monotonic_time(reactor)

def jump(by):
    global ahead
    ahead = by

fired = []
reactor.callLater(1800, fired.append, "half an hour too early")
reactor.callWhenRunning(jump, 3600)
reactor.callLater(0.01, jump, -3600)
reactor.callLater(0.02, reactor.stop)
reactor.run()
print(fired)
"""


class Step(Service):
    """A service that starts and stops when it is told, and writes down both."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.setName(name)
        self.diary = diary
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()

    def startService(self) -> Deferred[None]:
        self.diary.append(f"start {self.name}")
        return self.started

    def stopService(self) -> Deferred[None]:
        self.diary.append(f"stop {self.name}")
        return self.stopped


class OrderTests(SynchronousTestCase):
    """`InOrder`."""

    def test_one_after_the_other(self) -> None:
        """Each starts when the one before is ready, and stops when the one after is gone, even if that fails."""
        diary: list[str] = []
        one, two = Step("one", diary), Step("two", diary)
        whole = InOrder()

        async def begin() -> None:
            await whole.begin(one)
            await whole.begin(two)
        begun = Deferred.fromCoroutine(begin())
        self.assertEqual(diary, ["start one"])
        one.started.callback(None)
        self.assertEqual(diary, ["start one", "start two"])
        self.assertNoResult(begun)
        two.started.callback(None)
        self.successResultOf(begun)
        diary.clear()
        ended = whole.stopService()
        self.assertEqual(diary, ["stop two"])
        two.stopped.errback(ValueError("stuck"))
        self.assertEqual(diary, ["stop two", "stop one"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertNoResult(ended)
        one.stopped.callback(None)
        self.successResultOf(ended)

    def test_stopped_while_starting(self) -> None:
        """What is still starting is stopped as well."""
        diary: list[str] = []
        one = Step("one", diary)
        whole = InOrder()
        Deferred.fromCoroutine(whole.begin(one))
        whole.stopService()
        self.assertEqual(diary, ["start one", "stop one"])


class ClockTests(SynchronousTestCase):
    """The reactor's clock."""

    def test_wall_clock_jumps(self) -> None:
        """Timers count seconds that pass: an hour forward fires nothing, an hour back delays nothing."""
        done = subprocess.run([sys.executable, "-c", CLOCK], env={"PYTHONPATH": ":".join(filter(None, sys.path))}, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.stdout, "[]\n", done.stderr)


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def parsed(self, *arguments: str) -> Any:
        """The configuration these arguments make."""
        options = Options()
        options.parseOptions(arguments)
        return options.configuration()

    def test_overrules(self) -> None:
        """--listen and --state win over the file; a bare port listens on this machine only."""
        file = Path(self.mktemp())
        file.write_text("[http]\nlisten = tcp:1\n[limits]\nbatch = 5\n")
        read = self.parsed("--config", str(file), "--listen", "8081", "--state", "/x/y")
        self.assertEqual((read.http.listen, str(read.state.directory), read.limits.batch), ("tcp:8081:interface=127.0.0.1", "/x/y", 5))
        self.assertEqual(self.parsed("-c", str(file)).http.listen, "tcp:1")


class GreetingTests(SynchronousTestCase):
    """What the daemon says to whoever starts it."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())

    def test_terminal(self) -> None:
        """On a terminal the first password is shown once, and written nowhere."""
        first = self.place.twistd(terminal=True)
        password = first.until(r"admin@localhost with the password  (\S{16})\s")[1]
        first.until("answers at")
        self.assertFalse((self.place.state / "first-admin").exists())
        first.stop()
        self.assertEqual(first.printed.count(password), 1)
        again = self.place.twistd(terminal=True)
        again.until("answers at")
        self.assertNotIn("password", again.printed)

    def test_log_file(self) -> None:
        """[log] file takes the log, private, and [log] level leaves out what is less important."""
        log = self.place.folder / "interactd.log"
        self.place.environ.update(INTERACTD_LOG_FILE=str(log), INTERACTD_LOG_LEVEL="error", INTERACTD_DATABASE_RUN_AS="nobody-of-that-name")
        quiet = self.place.twistd()
        self.assertEqual(quiet.wait(), 1)
        self.assertNotIn("does not start", quiet.printed)
        self.assertEqual(log.stat().st_mode & 0o777, 0o600)
        self.assertIn("nobody-of-that-name", log.read_text())
        self.assertEqual(len(log.read_text().splitlines()), 1)
