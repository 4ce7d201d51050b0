"""interactctl import, export and google-token."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from interactd.api.context import App, Asked, Context
from interactd.auth.triggerkeys import open_keys
from interactd.auth.user import User
from interactd.changes import Hub, Progress
from interactd.config import Config
from interactd.db import Database, Statement
from interactd.errors import ApiError
from interactd.images import Images
from interactd.imports import archive, importing
from interactd.imports.entries import Filters
from interactd.imports.files import FileSource, content, of_archive, of_csv, of_vcards
from interactd.imports.google_consent import Consent
from interactd.imports.outgoing import Gate, resolver
from interactd.imports.run import Task, imported, tried
from interactd.imports.slices import Slices
from interactd.refusals import Refusal
from interactd.tls import StrictPolicy

Arguments = argparse.Namespace

WHO = Statement("command_user", """
SELECT u.id, u.email, u.company_id, u.auth_version, c.region, c.area_code FROM users u LEFT JOIN companies c ON c.id = u.company_id
WHERE lower(u.email) = lower(:email)""")


def add(commands: Any, on_database: Callable[..., Any]) -> None:
    """The commands, to those of interactctl; `on_database` opens the database for their work."""
    taking = commands.add_parser("import", help="bring the contacts of a file (.vcf, .csv, or an export's .json) into an account")
    taking.add_argument("file", type=Path, metavar="FILE")
    taking.add_argument("--dry-run", action="store_true", help="only say what would become of whom")
    taking.set_defaults(online=on_database(import_file))
    giving = commands.add_parser("export", help="write the contacts of an account: vCards 4.0, or an archive that import reads back without loss")
    giving.add_argument("file", type=Path, metavar="FILE", nargs="?", help="ending in .vcf or .json; without it vCards go to standard output")
    giving.set_defaults(online=on_database(export_file))
    for command in (taking, giving):
        command.add_argument("--user", required=True, metavar="EMAIL", help="whose account")
    consenting = commands.add_parser("google-token", help="get a refresh token, which takes the place of a password for importing from Google")
    consenting.add_argument("--port", type=int, default=0, help="of this machine, to which the browser comes back; any free one by itself")
    consenting.set_defaults(offline=google_token)


async def acting(reactor: Any, database: Database, config: Config, email: str) -> Context:
    """What a call would be given if the user made it: of the daemon's services there are the database, the hub, the images and the keys."""
    rows = await database.query(WHO, email=email)
    if not rows:
        raise Refusal(f"there is no account {email}: interactctl user list shows them")
    ident, mail, company, version, region, area = rows[0]
    user = User(ident, mail, company, frozenset({"user"}), 0, "interactctl", version, False, 0, region, area)
    keys = await open_keys(config.auth.trigger_keys_file or config.state.directory / "trigger-keys", database)
    app = SimpleNamespace(config=config, database=database, hub=Hub(), images=Images(config.limits, reactor), clock=reactor, trigger_keys=keys)
    return Context(cast(App, app), importing.contacts, Asked("interactctl", "", {}), (), {}, None, database, user)


@define
class Line:
    """One line on a terminal that says how far it is; elsewhere nothing is said until the end."""

    out: TextIO

    def show(self, said: dict[str, Any]) -> None:
        """The line is another one now."""
        if self.out.isatty():
            self.out.write("\r\x1b[K" + ", ".join(f"{name} {said[name]}" for name in ("read", "created", "updated", "failed") if name in said))
            self.out.flush()

    def clear(self) -> None:
        """The line is gone."""
        if self.out.isatty():
            self.out.write("\r\x1b[K")


async def import_file(reactor: Any, database: Database, config: Config, arguments: Arguments) -> None:
    """Bring the contacts of a file into an account."""
    c, line = await acting(reactor, database, config, arguments.user), Line(sys.stderr)
    c.app.hub.subscribe(Progress, lambda event: line.show(event.told))
    c.app.images.startService()
    try:
        said = await _taken(c, arguments.file, arguments.dry_run, Slices(reactor))
    except ApiError as error:
        raise Refusal(error.devmsg) from None
    finally:
        c.app.images.stopService()
        line.clear()
    would = "would be " if arguments.dry_run else ""
    print(", ".join(f"{len(said[name])} {would}{name}" for name in ("created", "updated")), end="")
    waiting = len(said["failed"])
    print(f", {waiting} can not become contacts by themselves: the clean-up shows them" if waiting else "")
    if said.get("leftOut"):
        print(f"{said['leftOut']} custom values and pictures were left out: the company has no field of that name, or they can not be read")


async def _taken(c: Context, file: Path, dry: bool, slices: Slices) -> dict[str, Any]:
    data = content(file)
    if file.suffix.lower() == ".json":
        return await _restored(c, archive.Restoring.of(c, data), dry, slices)
    readers = {".vcf": of_vcards, ".vcard": of_vcards, ".csv": of_csv}
    if file.suffix.lower() not in readers:
        raise Refusal(f"{file} ends in none of {', '.join(readers)}, .json")
    task = Task("file", "file", FileSource(readers[file.suffix.lower()](data), slices), Filters(), whole=False)
    return await (tried if dry else imported)(c, task)


async def _restored(c: Context, back: archive.Restoring, dry: bool, slices: Slices) -> dict[str, Any]:
    source = FileSource(of_archive(await back.missing() if dry else back.said["contacts"]), slices)
    task = Task(archive.SYSTEM, back.account, source, Filters(shared=True), whole=False)
    if dry:
        return await tried(c, task)
    await back.before()
    said = await imported(c, task)
    await back.after(set(said["created"]), slices.rest)
    return {**said, "leftOut": back.left_out}


async def export_file(reactor: Any, database: Database, config: Config, arguments: Arguments) -> None:
    """Write the contacts of an account to a file that only its owner may read."""
    c, file = await acting(reactor, database, config, arguments.user), arguments.file
    if file is None:
        await archive.as_vcards(c, sys.stdout.write)
        return
    if file.suffix.lower() not in (".vcf", ".json"):
        raise Refusal(f"{file} ends neither in .vcf nor in .json")
    try:
        with open(file, "x", encoding="utf-8", newline="", opener=_private) as out:
            count = await (archive.as_archive if file.suffix.lower() == ".json" else archive.as_vcards)(c, out.write)
    except OSError as failure:
        raise Refusal(f"{file} can not be written ({failure.strerror})") from None
    print(f"wrote {count} contacts to {file}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def google_token(config: Config, arguments: Arguments) -> None:
    """Get a refresh token from Google by somebody's consent in a browser."""
    async def work(reactor: Any) -> None:
        gate = Gate(reactor, resolver(reactor), StrictPolicy(), config.imports.timeout, config.imports.answer_bytes)
        try:
            token = await Consent(reactor, config.imports, gate).refresh_token(arguments.port, _show)
        except Refusal as refusal:
            raise SystemExit(f"interactctl: {refusal}") from None
        print(token)
    react(lambda reactor: Deferred.fromCoroutine(work(reactor)))


def _show(address: str) -> None:
    print(f"Open this address in a browser on this machine, and say yes to reading contacts:\n\n{address}\n", file=sys.stderr)
