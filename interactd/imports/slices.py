"""Long work of the processor in slices, so that events and other calls are not held up."""
from __future__ import annotations

import time
from typing import Any

from attrs import define
from twisted.internet.task import deferLater

SLICE = 0.002               # seconds at a stretch


@define
class Slices:
    """`rest` lets the reactor do other things when the slice is used up."""

    reactor: Any
    _until: float = 0.0

    async def rest(self) -> None:
        """Between two steps of the work."""
        if time.perf_counter() >= self._until:
            await deferLater(self.reactor, 0)
            self._until = time.perf_counter() + SLICE
