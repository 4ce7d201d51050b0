"""Importing a large address book from Radicale while events ring: how long, how much memory, and what the events feel.

    scripts/bench import [--cards 20000] [--rate 100] [--rounds 7] [--seconds 5]

The daemon has one core; PostgreSQL, Radicale and the load the other. Prints the latency from PUT to frame without an import and during
one (it may be twice that at most), round by round; then time and memory of a whole import, and of one that finds nothing new.
"""
from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from attrs import evolve

from benchmarks import ring
from benchmarks.bench_event import world
from benchmarks.event_servers import OURS, compared
from benchmarks.processes import OTHER_CORE, Command, Server, begun, pin
from tests.postgres import execute

USER, PASSWORD = "ada", "secret"


def shelve(home: Path, cards: int) -> None:
    """Radicale's storage with one address book of so many cards."""
    book = home / "data" / "collection-root" / USER / "book"
    book.mkdir(parents=True)
    (book / ".Radicale.props").write_text('{"tag": "VADDRESSBOOK"}')
    for n in range(cards):
        (book / f"{n}.vcf").write_text("\r\n".join((
            "BEGIN:VCARD", "VERSION:3.0", f"UID:card-{n}", f"N:Last{n};First{n};;;", f"FN:First{n} Last{n}", f"TEL;TYPE=CELL:+49176{n:07}",
            f"TEL;TYPE=WORK:+4930{n:07}", f"EMAIL;TYPE=INTERNET:card{n}@example.org", f"ADR;TYPE=HOME:;;{n} Main St;Berlin;;10115;Germany",
            "ORG:ACME;Sales", "NOTE:" + "x" * 200, "END:VCARD", "")))
    (home / "users").write_text(f"{USER}:{PASSWORD}\n")


def radicale(home: Path) -> Server:
    """Radicale, which is to run on the other core."""
    (home / "config").write_text(f"[server]\ntimeout = 300\n[auth]\ntype = htpasswd\nhtpasswd_filename = {home / 'users'}\n"
                                 f"htpasswd_encryption = plain\n[storage]\nfilesystem_folder = {home / 'data'}\n[logging]\nlevel = error\n")
    return Server(Command([sys.executable, "-m", "radicale", "-C", str(home / "config"), "--hosts", "127.0.0.1:{port}"]))


class Import(threading.Thread):
    """One import of a user: its answer, its seconds, the most memory the daemon had meanwhile. `hang_up` ends it after the page in work."""

    def __init__(self, port: int, daemon: psutil.Process, user: int = 1) -> None:
        super().__init__()
        self.process, self.user = daemon, user
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
        self.answer: dict[str, Any] = {}
        self.seconds, self.memory, self.before = 0.0, 0, daemon.memory_info().rss

    def run(self) -> None:
        """Asks and waits."""
        body = json.dumps({"externalSystem": "carddav", "username": USER, "password": PASSWORD}).encode()
        watching = threading.Thread(target=self._watch)
        watching.start()
        started = time.perf_counter()
        try:
            self.connection.request("POST", "/v2/import?cmd=importContacts", body, {
                "authToken": f"session-{self.user}", "Content-Type": "application/json"})
            self.answer = json.load(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self.seconds = time.perf_counter() - started
            watching.join()

    def hang_up(self) -> None:
        """Nobody waits for the answer any more."""
        if self.connection.sock is not None:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join()

    def _watch(self) -> None:
        while not self.seconds:
            self.memory = max(self.memory, self.process.memory_info().rss)
            time.sleep(0.05)

    def said(self) -> str:
        """A line about it."""
        counts = ", ".join(f"{name} {len(self.answer.get(name, ()))}" for name in ("created", "updated", "failed"))
        return f"{self.seconds:7.1f} s, memory {self.before >> 20} -> {self.memory >> 20} MiB, {counts}"


def load(port: int, rate: int, seconds: float) -> dict[str, Any]:
    """The figures of some seconds of events."""
    driver = begun(["benchmarks.load", str(port), "--clients", "64", "--rate", str(rate), "--seconds", str(seconds)])
    assert driver.stdout is not None
    figures = [json.loads(line) for line in driver.stdout if line.startswith("{")]
    if driver.wait() or not figures:
        raise SystemExit("the load has failed")
    return dict(figures[-1])


def pairs(daemon: Server, dsn: str, o: argparse.Namespace) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Events without an import and then during one, round by round, so that a busy machine hits both alike."""
    found = []
    for user in range(2, 2 + o.rounds):
        idle = load(daemon.port, o.rate, o.seconds)
        one = Import(daemon.port, daemon.process, user)
        one.start()
        while not execute(dsn, "SELECT 1 FROM external_contacts WHERE user_id = %s LIMIT 1", user) and one.is_alive():
            time.sleep(0.1)
        found.append((idle, load(daemon.port, o.rate, o.seconds)))
        if not one.is_alive():
            raise SystemExit("the import was over before the load: take more --cards")
        one.hang_up()
        while execute(dsn, "SELECT 1 FROM import_states WHERE user_id = %s AND run IS NOT NULL", user):
            time.sleep(0.1)
    return found


def measure(daemon: Server, dsn: str, o: argparse.Namespace) -> None:
    """The events' latency, then a whole import without events and one that finds nothing new."""
    load(daemon.port, o.rate, 3)
    found = pairs(daemon, dsn, o)
    for name in ("frame p50", "frame p99", "put p99"):
        ratios = sorted(busy[name] / idle[name] for idle, busy in found)
        still, busy = (statistics.median(figures[name] for figures in side) for side in zip(*found))
        print(f"{name}: idle {still:.2f} ms, during the import {busy:.2f} ms; round by round {statistics.median(ratios):.2f} times "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(*(f"{fault} {sum(busy[fault] for _, busy in found):.0f}" for fault in ("lost", "doubled", "failed")))
    for name in ("first import", "nothing new"):
        whole = Import(daemon.port, daemon.process)
        whole.start()
        whole.join()
        print(f"{name}: {whole.said()}")


def main() -> None:
    """Starts all and measures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cards", type=int, default=20_000)
    options.add_argument("--rate", type=int, default=100)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--rounds", type=int, default=7)
    o = options.parse_args()
    dsn = world()
    with tempfile.TemporaryDirectory() as state:
        home = Path(state)
        ring.write(home / "keys")
        shelve(home, o.cards)
        with radicale(home) as shelf:
            pin(shelf.process, OTHER_CORE)
            command = compared(dsn, state, None)[OURS].command
            more = {"INTERACTD_IMPORTS_TIMEOUT": "600", "INTERACTD_IMPORTS_SERVERS": f"carddav http://127.0.0.1:{shelf.port} private"}
            with Server(evolve(command, environ={**command.environ, **more})) as daemon:
                measure(daemon, dsn, o)


if __name__ == "__main__":
    main()
