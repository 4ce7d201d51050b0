"""interactctl: what is done to a daemon's data from the command line, whether the daemon runs or not."""

from __future__ import annotations

import argparse
import json
import sys
from getpass import getpass
from pathlib import Path
from typing import Any, Awaitable, Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from interactd import __version__, people, standalone
from interactd.auth.passwords import hash_password
from interactd.cluster import running_url
from interactd.config import SECTIONS, Config
from interactd.configfile import load
from interactd.db import Database
from interactd.embedded import EmbeddedPostgres
from interactd.imports import commands as transfers
from interactd.keys import keys
from interactd.migrate import migrate, pending, preparing
from interactd.refusals import InUse, Refusal
from interactd.state import claim

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: exits with 0, or with 1 and one sentence."""
    arguments = parser().parse_args(argv)
    try:
        config = load(arguments.config)
        if arguments.online is None and arguments.remote is None:
            arguments.offline(config, arguments)
            return
    except Refusal as refusal:
        raise SystemExit(f"interactctl: {refusal}") from None
    react(lambda reactor: Deferred.fromCoroutine(_online(reactor, config, arguments)))


async def _online(reactor: Any, config: Config, arguments: Arguments) -> None:
    try:
        if arguments.remote is not None:
            await arguments.remote(reactor, config, arguments)
        else:
            await with_database(reactor, config, lambda dsn: arguments.online(reactor, dsn, config, arguments))
    except Refusal as refusal:
        raise SystemExit(f"interactctl: {refusal}") from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="interactctl", description="Look after interactd's accounts, database and configuration.")
    whole.add_argument("--version", action="version", version=f"interactd {__version__}")
    whole.add_argument("--config", "-c", type=Path, metavar="FILE", help="the daemon's configuration file")
    whole.set_defaults(online=None, offline=None, remote=None)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _user_commands(commands.add_parser("user", help="add, list and change accounts").add_subparsers(required=True, metavar="COMMAND"))
    migrating = commands.add_parser("migrate", help="bring the database to the schema of this version")
    migrating.add_argument("--dry-run", action="store_true", help="only say what would be applied")
    migrating.set_defaults(online=apply_migrations)
    checking = commands.add_parser("check-config", help="check the configuration and show what is not default")
    checking.set_defaults(offline=check_config)
    describing = commands.add_parser("openapi", help="print the API's description (OpenAPI 3.1, JSON)")
    describing.set_defaults(offline=describe)
    serving = commands.add_parser("postgres", help="run the embedded PostgreSQL by itself, for several daemons on this machine")
    serving.set_defaults(remote=serve_postgres)
    examining = commands.add_parser("doctor", help="why did my phone not ring? Looks at all that a push depends on")
    examining.add_argument("device", help="its id, or what it was registered as")
    examining.set_defaults(online=examine_device)
    playing = commands.add_parser("demo", help="play a ringing phone against the running daemon")
    playing.add_argument("--url", help="where it answers, if that can not be told from [http] listen")
    playing.set_defaults(online=play_demo)
    watching = commands.add_parser("watch", help="show what a device of an account is told, one JSON object a line (the password is asked for)")
    watching.add_argument("email")
    watching.add_argument("device", help="its deviceId; it is registered if it is new")
    watching.add_argument("--url", help="where the daemon answers, if that can not be told from [http] listen")
    watching.set_defaults(remote=watch_device)
    transfers.add(commands, _on_database)
    return whole


def _user_commands(commands: Any) -> None:
    adding = commands.add_parser("add", help="make an account")
    adding.add_argument("--company", metavar="NAME", help="its company, which is made if there is none of that name")
    adding.add_argument("--role", action="append", choices=people.ROLES, metavar="ROLE", help=f"{', '.join(people.ROLES)}; may be repeated")
    adding.set_defaults(online=add_user)
    changing = commands.add_parser("password", help="change a password, which ends the account's sessions")
    changing.set_defaults(online=change_password)
    for command in (adding, changing):
        command.add_argument("email")
        command.add_argument("--password-stdin", action="store_true",
                             help="read the password from standard input; else one is made and shown, for the first login only")
    commands.add_parser("list", help="show the accounts").set_defaults(online=list_users)


async def with_database(reactor: Any, config: Config, work: Callable[[str], Awaitable[None]]) -> None:
    """Do `work` on the address of the daemon's database, which is started for the time being if no daemon runs."""
    if config.database.url != "embedded":
        return await work(config.database.url)
    if not config.state.directory.is_dir():
        raise Refusal(f"there is no state directory {config.state.directory}: start the daemon first, or say --config FILE")
    try:
        mine = claim(config.state.directory)
    except InUse as used:
        dsn = running_url(config.state.directory)
        if dsn is None:
            raise Refusal(f"{used}; its database is not open at the moment, try again when it has started") from None
        return await work(dsn)
    postgres = EmbeddedPostgres(reactor, config.state.directory, config.database.run_as)
    try:
        await postgres.startService()
        await work(postgres.url)
    finally:
        await postgres.stopService()
        mine.release()


async def _database(reactor: Any, dsn: str) -> Database:
    """One connection to a database that has the schema of this version."""
    with preparing(dsn) as connection:
        if pending(connection):
            raise Refusal("the database does not have the schema of this version yet: interactctl migrate, or start the daemon")
    database = Database(reactor, dsn, 1)
    await database.open()
    return database


def _on_database(work: Callable[[Any, Database, Config, Arguments], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A command whose work takes an open database instead of an address."""
    async def command(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
        database = await _database(reactor, dsn)
        try:
            await work(reactor, database, config, arguments)
        finally:
            database.stopService()
    return command


async def add_user(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """Make an account."""
    email = people.check_email(arguments.email)
    password, chosen = _password(config, arguments)
    database = await _database(reactor, dsn)
    person = people.Person(email, hash_password(config.auth, password), tuple(arguments.role or ["user"]), arguments.company, not chosen)
    try:
        user_id = await people.add(database, person)
    finally:
        database.stopService()
    print(f"added {email} with id {user_id}")
    _show(password, chosen)


async def change_password(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """Change the password of an account."""
    password, chosen = _password(config, arguments)
    database = await _database(reactor, dsn)
    try:
        await people.set_password(database, arguments.email, hash_password(config.auth, password), not chosen)
    finally:
        database.stopService()
    print(f"changed the password of {arguments.email}; its sessions have ended")
    _show(password, chosen)


async def list_users(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """Show all accounts, one a line, with tabs between id, e-mail, company, roles and state."""
    database = await _database(reactor, dsn)
    try:
        rows = await people.everybody(database)
    finally:
        database.stopService()
    for user_id, email, company, active, roles in rows:
        print(user_id, email, company or "-", ",".join(roles) or "user", "active" if active else "inactive", sep="\t")


async def apply_migrations(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """Apply the migrations that are missing, or say which they are."""
    if arguments.dry_run:
        with preparing(dsn) as connection:
            missing = pending(connection)
    else:
        missing = migrate(dsn)
    for migration in missing:
        print("would apply" if arguments.dry_run else "applied", migration.name)
    if not missing:
        print("the database is up to date")


async def serve_postgres(reactor: Any, config: Config, arguments: Arguments) -> None:
    """Run the embedded PostgreSQL until the process is told to stop."""
    await standalone.serve(reactor, config)


def check_config(config: Config, arguments: Arguments) -> None:
    """Show the keys that do not have their default; secrets only by name. ConfigError for files that can not be what they should."""
    from interactd.push.identity import identity
    identity(config.apns)
    for name, section in SECTIONS.items():
        ours, default = attrs.asdict(getattr(config, name), recurse=False), attrs.asdict(section(), recurse=False)
        for key, (attribute, described) in keys(section).items():
            if ours[attribute] != default[attribute]:
                print(f"[{name}] {key} = {'(secret)' if described.secret else ours[attribute]}")
    print("the configuration is good")


def describe(config: Config, arguments: Arguments) -> None:
    """Print the API's description."""
    from interactd.api.openapi import document
    from interactd.calls import CALLS
    print(json.dumps(document(CALLS), indent=2))


async def play_demo(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """A phone rings: who it is shows on another device."""
    from interactd import demo
    database = await _database(reactor, dsn)
    try:
        await demo.play(reactor, database, config, arguments.url or demo.address(config))
    finally:
        database.stopService()


async def watch_device(reactor: Any, config: Config, arguments: Arguments) -> None:
    """Show what a device is told."""
    from interactd import demo, watch
    password = getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    await watch.watch(reactor, arguments.url or demo.address(config), arguments.email, password, arguments.device)


async def examine_device(reactor: Any, dsn: str, config: Config, arguments: Arguments) -> None:
    """What a push to a device depends on, a line each; Refusal when something of it is wrong."""
    from interactd.push.doctor import examine
    database = await _database(reactor, dsn)
    try:
        found = await examine(reactor, database, config, arguments.device)
    finally:
        database.stopService()
    for one in found:
        print(f"{one.what + ':':14}{one.seen}")
    wrong = [one for one in found if one.wrong]
    if wrong:
        raise Refusal("; ".join(f"{one.what}: {one.wrong}" for one in wrong))
    print("nothing is wrong with it from here")


def _password(config: Config, arguments: Arguments) -> tuple[str, bool]:
    """The password, and whether somebody chose it (else it is random)."""
    if not arguments.password_stdin:
        return people.random_password(), False
    return people.check_password(config.auth, sys.stdin.readline().rstrip("\r\n")), True


def _show(password: str, chosen: bool) -> None:
    if not chosen:
        print(f"its password is {password}, to be changed at the first login")


if __name__ == "__main__":
    main()
