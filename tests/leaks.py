"""No log that a run of the tests writes holds an e-mail address, a phone number or a token.

What the daemon logs inside the test processes stands in trial's test.log; what PostgreSQL and daemons of their own have written is
kept beside it. scripts/trial.py looks through them when trial has ended, and fails for what it finds.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PRIVATE = {
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "a token": re.compile(r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{43}(?![\w-])"),
    "a phone number": re.compile(r"(?<![\w.:+-])(?:\+\d{7,15}|0\d{8,14})(?![\w.])"),
    "a password": re.compile(r"argon2id\$|canary-\w+"),
}
KEPT = ("postgresql.log", "daemons.log")
_folders: dict[str, Path] = {}


def folder() -> Path | None:
    """Where trial's test.log is written, as long as trial works there; remembered for the end of the process."""
    if (Path.cwd() / "test.log").exists():
        _folders.setdefault("", Path.cwd())
    return _folders.get("")


def keep(name: str, *texts: str) -> None:
    """What was written elsewhere is kept beside test.log."""
    where = folder()
    if where is not None and where.is_dir():
        with (where / name).open("a", encoding="utf-8") as file:
            file.writelines(text + "\n" for text in texts if text)


def keep_files(name: str, where: Path) -> None:
    """The same for the files of a folder."""
    keep(name, *(file.read_text(errors="replace") for file in sorted(where.glob("*")) if file.is_file()))


def leaks(root: Path, since: float) -> Iterator[str]:
    """What private things stand in the logs of runs below `root` that were written since then, each kind once a file."""
    places = ("_trial_temp*", "_trial_temp*/[0-9]*")            # one for each process of -j
    for file in sorted(path for place in places for name in ("test.log", *KEPT) for path in root.glob(f"{place}/{name}")):
        if file.stat().st_mtime >= since:
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from (f"{file.relative_to(root)} holds {what}: {found[0]}" for what, form in PRIVATE.items() if (found := form.search(text)))
