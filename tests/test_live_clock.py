"""A wall clock that jumps."""
from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.api_case import ApiCase


class Jumps(ApiCase):
    """An hour, with sockets open."""

    async def jump(self, clock: str) -> str:
        """What became of the socket in a process whose reactor runs on that clock."""
        me = self.person("me@example.org")
        self.sql("INSERT INTO devices (user_id, device_id, canonical) VALUES (%s, 'phone', 'phone')", me.id)
        state = Path(self.mktemp())
        state.mkdir()
        here = str(Path(__file__).parent.parent)
        said, errors, _ = await getProcessOutputAndValue(
            sys.executable, ["-m", "tests.clockjump", self.dsn, str(state.absolute()), clock, me.token], env={"PYTHONPATH": here}, path=here)
        return said.decode().strip() or errors.decode()

    async def test_nothing_happens(self) -> None:
        """No socket closes, no push fires; what comes next arrives (with the one ping behind it)."""
        self.assertEqual(await self.jump("monotonic"), "code None, 0 pings, 0 more messages")

    async def test_what_would_happen(self) -> None:
        """On the wall clock the same jump sends pings that are due in half a minute: this test can fail."""
        self.assertNotEqual(await self.jump("wall"), "code None, 0 pings, 0 more messages")
