"""The embedded PostgreSQL on disk: its folders, its settings, its commands, and what it says of itself.

Nothing here starts or waits for a process; embedded.py does that in the reactor, the tests do it with subprocess.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg2
from attrs import frozen

from interactd.accounts import Account, may, own_account
from interactd.programs import MAJOR, programs
from interactd.refusals import ClusterError

DATABASE = "interactd"
ROLE = "interactd"          # the daemon's role: owns the database, is no superuser
SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107       # sun_path of Linux, without its closing NUL
_NOBODY = "4194304"         # the upper bound of process numbers on Linux
_ELSEWHERE = Path("/var/lib/interactd")

_SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
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


@frozen
class Layout:
    """The folders of one cluster and the programs that serve it."""

    home: Path
    programs: Path
    sockets: Path
    account: Account
    fresh: Path         # where the cluster is made, and from where it is renamed to `data` when it is whole

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder (PGDATA)."""
        return self.home / "data"

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


def home_for(state: Path, account: Account) -> Path:
    """The cluster's folder: `postgres` in the state directory, which may be a link to where PostgreSQL's account can reach it."""
    place = state / "postgres"
    if not account.is_ours:
        os.chown(state, os.geteuid(), account.gid)
        state.chmod(0o710)      # PostgreSQL's account may pass through, not look around
    if not place.is_symlink() and not place.exists() and not may(account, state, os.X_OK):
        _ELSEWHERE.mkdir(mode=0o711, parents=True, exist_ok=True)
        made = _ELSEWHERE / f"postgres-{secrets.token_hex(4)}"
        made.mkdir(mode=0o700)
        place.symlink_to(made)
    home = place.resolve()
    if place.is_symlink() and not home.is_dir():
        raise ClusterError(f"{place} leads to {home}, which is not there: bring it back, or remove the link to begin anew")
    if not may(account, home.parent, os.X_OK):
        raise ClusterError(f"PostgreSQL runs as {account.name}, who can not reach {home}: open the folders above it for that account "
                           "(chmod a+x), or choose another state directory ([state] directory)")
    return home


def prepare(home: Path, account: Account, connections: int = 100) -> Layout:
    """Make the folders and settings of a cluster in `home`, whose parents `account` can walk; answers where everything is.

    `home` and the settings stay with the daemon's account, so that PostgreSQL's account can not lead a root daemon astray.
    """
    _folder(home, 0o700 if account.is_ours else 0o710, os.geteuid(), account.gid)
    for unfinished in home.glob("data.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    # Never the same name twice: the initdb of a daemon that was killed may still be writing.
    fresh = home / f"data.new-{secrets.token_hex(4)}"
    layout = Layout(home, programs(home, account), _sockets(home, account), account, fresh)
    for folder in (layout.data if layout.data.exists() else layout.fresh, layout.log, layout.sockets):
        _folder(folder, 0o700, account.uid, account.gid)
    settings = {**_SETTINGS, "max_connections": str(connections), "unix_socket_directories": _quoted(layout.sockets),
                "log_directory": _quoted(layout.log),
                "hba_file": _quoted(home / "pg_hba.conf"), "ident_file": _quoted(home / "pg_ident.conf")}
    daemon = own_account().name
    _file(home / "pg_hba.conf", _HBA, account)
    _file(home / "pg_ident.conf", "".join(f'interactd "{daemon}" {role}\n' for role in (ROLE, SUPERUSER)), account)
    _file(layout.settings, "".join(f"{name} = {value}\n" for name, value in settings.items()), account)
    return layout


def url(layout: Layout, database: str, role: str = ROLE) -> str:
    """The address of a database of the cluster, for psycopg2."""
    return _url(layout.sockets, database, role)


def _url(sockets: Path, database: str, role: str) -> str:
    return f"postgresql://{role}@/{database}?host={quote(str(sockets), safe='')}"


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


def is_ready(data: Path) -> bool:
    """Whether the PostgreSQL that serves `data` accepts connections; it says so in the eighth line of postmaster.pid."""
    lines = _notes(data)
    return len(lines) > 7 and lines[7].strip() == "ready"


def server_pid(data: Path) -> int | None:
    """The process that serves `data`, believed only if its command is postgres on exactly this folder."""
    lines = _notes(data)
    if not lines or not lines[0].isdigit():
        return None
    try:
        command = Path(f"/proc/{lines[0]}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    folder = os.fsencode(data)
    ours = os.path.basename(command[0]) == b"postgres" and any(pair == (b"-D", folder) for pair in zip(command, command[1:]))
    return int(lines[0]) if ours else None


def disown_stranger(data: Path) -> None:
    """Let PostgreSQL start although its old process number belongs to another program of the same account by now.

    Only the number is replaced, by one that no process can have: the rest of the file tells PostgreSQL which shared memory
    to look for, so that it never starts while a process of the old server still lives.
    """
    lines = _notes(data)
    if lines and server_pid(data) is None:
        (data / "postmaster.pid").write_text("\n".join([_NOBODY, *lines[1:]]) + "\n")


def running_url(state: Path) -> str | None:
    """The address of the database that another process keeps running on this state directory, None if it is not ready."""
    data = (state / "postgres").resolve() / "data"
    return _url(Path(_notes(data)[4]), DATABASE, ROLE) if server_pid(data) and is_ready(data) else None


def control_file(state: Path) -> Path:
    """The file in which the cluster of this state directory says what state it is in."""
    return (state / "postgres").resolve() / "data" / "global" / "pg_control"


def last_words(layout: Layout, pid: int) -> str | None:
    """Why this server of the cluster gave up, from its log; None if it does not say."""
    logs = sorted(layout.log.glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(errors="replace").splitlines() if logs else []
    return next((line.partition("FATAL:")[2].strip() for line in reversed(lines) if f"[{pid}] FATAL:" in line), None)


def check_version(data: Path) -> None:
    """Refuse a cluster made by another major version of PostgreSQL."""
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(MAJOR):
        raise ClusterError(f"{data} was made by PostgreSQL {found}, and this interactd brings {MAJOR}: dump it with the old one and "
                           "load it into a new state directory (docs/operations.md)")


def make_database(layout: Layout) -> None:
    """Make the daemon's role and database where they are missing."""
    connection = psycopg2.connect(url(layout, "postgres", SUPERUSER))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {ROLE} LOGIN")
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    finally:
        connection.close()


def _notes(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []
