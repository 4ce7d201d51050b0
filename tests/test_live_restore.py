"""Backup, more events, restore: clients that know what the restored database does not are told so."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from interactd import configfile
from interactd.api.app import Api
from interactd.assembly import build
from interactd.cluster import control_file
from interactd.epochs import files_of
from interactd.programs import MAJOR, installation
from tests.postgres import server
from tests.test_live_numbered import NumberedCase


class Restore(NumberedCase):
    """With pg_dump, into a new database and over the old one."""

    async def test_a_dump(self) -> None:
        """The numbers are given out again, to other events: a resume from before says resync, and the client goes on behind it."""
        programs = installation() / f"pginstall{MAJOR}" / "bin"
        await self.ring()
        dump = Path(self.mktemp()).absolute()
        await deferToThread(subprocess.run, [programs / "pg_dump", "-Fc", "-f", dump, self.dsn], check=True)
        client = await self.follow()
        await self.ring("12345")
        (lost,) = await self.said(client)
        before = self.epoch()

        self.dsn = server().empty()
        self.addCleanup(server().drop, self.dsn)
        await deferToThread(subprocess.run, [programs / "pg_restore", "-d", self.dsn, dump], check=True)
        self.assertEqual(self.epoch(), before)
        await self.live.stopService()
        parts = await build(reactor, self.config, self.dsn)
        self.addCleanup(parts.stop)
        port = reactor.listenTCP(0, Api(parts.app, parts.app.calls).site(), interface="127.0.0.1")     # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port, self.live = port.getHost().port, parts.app.live
        again = await self.ring("123456")
        self.assertEqual(self.head(), lost["seq"])
        client = await self.follow(resume={"resume": lost["seq"], "epoch": before})
        while "resync" not in (said := await client.next()):
            pass
        self.assertEqual(said, {"resync": True, "epoch": self.epoch(), "seq": lost["seq"], "prev": lost["seq"]})
        self.assertNotEqual(self.epoch(), before)
        rang = await self.ring("1234567")
        self.assertEqual((await self.told(client))["interactionId"], rang["id"])
        self.assertEqual(again["id"], lost["interactionId"])

    async def test_a_copy_of_the_files(self) -> None:
        """Has other inodes; going on with the same files has not."""
        state = Path(self.mktemp())
        file = control_file(state)
        os.makedirs(file.parent)
        file.write_bytes(b"x")
        config: Any = configfile.load(None, environ={"INTERACTD_STATE_DIRECTORY": str(state)})
        before = files_of(config)
        file.write_bytes(b"y")
        self.assertEqual(files_of(config), before)
        saved = Path(self.mktemp())
        shutil.copytree(state, saved)
        file.write_bytes(b"z")
        os.rename(state, self.mktemp())
        shutil.copytree(saved, state)
        self.assertNotEqual(files_of(config), before)
