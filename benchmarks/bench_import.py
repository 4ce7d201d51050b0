"""Importing a large address book from Radicale while events ring: how long, how much memory, and what the events feel.

    scripts/bench import [--cards 20000] [--rate 100] [--seconds 10]

The daemon has one core; PostgreSQL, Radicale and the load the other. Prints the wall time and memory of the first import and of one
that finds nothing changed, and the latency from PUT to frame without and during the first, which may be twice that at most.
"""
from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from attrs import evolve

from benchmarks import ring
from benchmarks.bench_event import world
from benchmarks.event_servers import OURS, compared
from benchmarks.processes import OTHER_CORE, Command, Server, begun, pin

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
    """One import: its answer, its seconds, the most memory the daemon had meanwhile."""

    def __init__(self, port: int, daemon: psutil.Process) -> None:
        super().__init__()
        self.port, self.process = port, daemon
        self.answer: dict[str, Any] = {}
        self.seconds, self.memory, self.before = 0.0, 0, daemon.memory_info().rss

    def run(self) -> None:
        """Asks and waits."""
        body = json.dumps({"externalSystem": "carddav", "username": USER, "password": PASSWORD}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v2/import?cmd=importContacts", body, {
            "authToken": "session-1", "Content-Type": "application/json"})
        watching = threading.Thread(target=self._watch)
        watching.start()
        started = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=3600) as reply:
                self.answer = json.load(reply)
        finally:
            self.seconds = time.perf_counter() - started
            watching.join()

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


def measure(daemon: Server, rate: int, seconds: float) -> None:
    """Imports once under load and once more without, and prints what it was like; loads of before and after are the idle ones."""
    load(daemon.port, rate, 3)
    idle = [load(daemon.port, rate, seconds)]
    first = Import(daemon.port, daemon.process)
    first.start()
    during = []
    while first.is_alive():
        during.append(load(daemon.port, rate, seconds))
    idle += [load(daemon.port, rate, seconds) for _ in range(2)]
    again = Import(daemon.port, daemon.process)
    again.start()
    again.join()
    print("first import: ", first.said())
    print("nothing new:  ", again.said())
    for name in ("frame p50", "frame p99", "put p99"):
        still, busy = (sorted(figures[name] for figures in runs) for runs in (idle, during[:-1] or during))
        middle = [runs[len(runs) // 2] for runs in (still, busy)]
        print(f"{name}: idle {middle[0]:.2f} ms, during the import {middle[1]:.2f} ms, {middle[1] / middle[0]:.2f} times "
              f"(idle {' '.join(f'{s:.1f}' for s in still)}; during {' '.join(f'{s:.1f}' for s in busy)})")
    print(*(f"{fault} {sum(figures[fault] for figures in during):.0f}" for fault in ("lost", "doubled", "failed")))


def main() -> None:
    """Starts all and measures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cards", type=int, default=20_000)
    options.add_argument("--rate", type=int, default=100)
    options.add_argument("--seconds", type=float, default=10)
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
                measure(daemon, o.rate, o.seconds)


if __name__ == "__main__":
    main()
