"""Where the log goes: what `[log]` says, applied to whatever twistd has set up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, cast

from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, globalLogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile

from interactd.config import Log

_ROTATE = 64 << 20
_KEPT = 7


def apply(config: Log) -> None:
    """From now on only messages of the configured level are written, to the configured file if there is one."""
    level = LogLevelFilterPredicate(LogLevel.levelWithName(config.level))
    observers = list(globalLogPublisher._observers)      # the publisher has no public way to ask
    for observer in observers:
        globalLogPublisher.removeObserver(observer)
    if config.file is not None:
        observers = [textFileLogObserver(_opened(config.file))]
    for observer in observers:
        globalLogPublisher.addObserver(FilteringLogObserver(observer, [level]))


def _opened(file: Path) -> IO[str]:
    opened = LogFile(file.name, os.fspath(file.parent), rotateLength=_ROTATE, defaultMode=0o600, maxRotatedFiles=_KEPT)
    return cast(IO[str], opened)
