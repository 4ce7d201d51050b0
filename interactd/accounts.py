"""The account the embedded PostgreSQL runs under: PostgreSQL refuses root, and must reach its programs and its data."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

from attrs import frozen

from interactd.refusals import ClusterError


@frozen
class Account:
    """The account PostgreSQL runs under."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def is_ours(self) -> bool:
        """Whether it is the account of this process, so that nothing has to be switched."""
        return self.uid == os.geteuid()


def own_account() -> Account:
    """The account of this process."""
    try:
        return _account(pwd.getpwuid(os.geteuid()))
    except KeyError:
        raise ClusterError(
            f"account number {os.geteuid()} has no entry in /etc/passwd, without which PostgreSQL does not start: add one or set "
            "[database] url to a PostgreSQL of your own") from None


def account_for(run_as: str) -> Account:
    """The account to run PostgreSQL under: our own; as root `run_as`, else `postgres`, else an `interactd` made for it."""
    if os.geteuid() != 0:
        ours = own_account()
        if run_as not in ("", ours.name):
            raise ClusterError(f"[database] run-as = {run_as} needs root; started by {ours.name}, PostgreSQL runs as {ours.name}")
        return ours
    for name in [run_as] if run_as else ["postgres", "interactd"]:
        try:
            found = _account(pwd.getpwnam(name))
        except KeyError:
            continue
        if found.uid == 0:
            raise ClusterError("PostgreSQL refuses to run as root: set [database] run-as to another account")
        return found
    if run_as:
        raise ClusterError(f"[database] run-as names the account {run_as!r}, which this system does not have")
    return _made_account("interactd")


def _made_account(name: str) -> Account:
    made = subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                           "--shell", "/usr/sbin/nologin", name], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if made.returncode:
        raise ClusterError(f"PostgreSQL refuses to run as root, and no account could be made for it ({made.stderr.strip()}): "
                           "set [database] run-as to an ordinary account")
    return _account(pwd.getpwnam(name))


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def may(account: Account, path: Path, wanted: int) -> bool:
    """Whether the account has these permissions (os.R_OK | os.X_OK …) on the path and may walk there; judged by mode bits."""
    if account.uid == 0:
        return True
    return all(_allows(account, folder, os.X_OK) for folder in path.parents) and _allows(account, path, wanted)


def _allows(account: Account, path: Path, wanted: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid in account.groups else 0
    return (found.st_mode >> shift) & wanted == wanted


def detached(command: list[str], account: Account) -> list[str]:
    """The command in a session of its own and under the account: Ctrl-C in the daemon's terminal does not reach it."""
    name, gid, uid = account.name, account.gid, account.uid
    switch = "" if account.is_ours else f"os.initgroups({name!r}, {gid}); os.setgid({gid}); os.setuid({uid}); "
    code = f"import os, sys; os.setsid(); {switch}os.umask(0o077); os.chdir('/'); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-ISEc", code, *command]
