"""The state directory: private to its account, and claimed by one process at a time."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from pathlib import Path

from attrs import frozen

from interactd.refusals import InUse, StateError

_LOCK = "lock"


@frozen
class Claim:
    """The right to start and stop what lives in the state directory; ends with `release` or with the process."""

    directory: Path
    _descriptor: int

    def release(self) -> None:
        """Let another process claim it."""
        os.close(self._descriptor)


def claim(directory: Path) -> Claim:
    """Make the state directory if need be, close it to everybody else, and claim it; InUse names the process that has."""
    _make(directory)
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # flock, not lockf: the claim of a daemon that puts itself in the background must survive the fork.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise InUse(f"the state directory {directory} is in use by process {holder or 'unknown'}: stop that one, or choose "
                    "another directory ([state] directory)") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return Claim(directory, descriptor)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise StateError(f"the state directory {directory} belongs to {_name(found.st_uid)}: run this as that account "
                             "or choose another directory ([state] directory)")
        if not (directory / _LOCK).exists() and any(directory.iterdir()):
            raise StateError(f"{directory} is not empty and no state directory: choose another ([state] directory)")
        if stat.S_IMODE(found.st_mode) & ~0o710:
            directory.chmod(0o700)
    except OSError as failure:
        raise StateError(f"the state directory {directory} can not be used: {failure.strerror}") from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"account {uid}"
