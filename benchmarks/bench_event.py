"""PUT to frame, side by side in one run: interactd and what a person would write instead.

    scripts/bench event [--rounds 3] [--seconds 5]

The server has one core, PostgreSQL and the load the other. Every round runs every server, so that a busy machine hits all alike.
Prints medians, and ratios to the FastAPI peer that calls the same function, one event a call.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from benchmarks import ring
from benchmarks.bench_intake import SEED
from tests.postgres import fresh_database

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, OTHER_CORE = 0, 1
SESSIONS = """INSERT INTO sessions (user_id, token_hash, scope, expires_at)
  SELECT g, sha256(convert_to('session-' || g, 'UTF8')), 'device app', now() + interval '1 day' FROM generate_series(1, 1000) g;"""
EMPTY = "TRUNCATE interactions, event_keys, activities CASCADE"
PLENTY = {"EVENTS_PER_SECOND": "1000000", "EVENTS_BURST": "1000000", "WAITING_PER_USER": "10000"}
LOADS = {"32 clients": ["--clients", "32"], "256 clients": ["--clients", "256"], "100/s": ["--clients", "64", "--rate", "100"]}
PEER = "fastapi, same function"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def servers(dsn: str, state: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name -> command (with {port}) and environment."""
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "interactd", "--listen", "{port}"]
    ours = {"INTERACTD_DATABASE_URL": dsn, "INTERACTD_STATE_DIRECTORY": f"{state}/var", "INTERACTD_AUTH_TRIGGER_KEYS_FILE": f"{state}/keys",
            **{f"INTERACTD_LIMITS_{k}": v for k, v in PLENTY.items()}}
    peer = [sys.executable, "-m", "benchmarks.peers.fastapi_events", "{port}", dsn]
    return {"interactd": (twistd, ours), PEER: ([*peer, "intake"], {}), "fastapi, simple statement": ([*peer, "simple"], {})}


def pin(process: psutil.Process, core: int) -> None:
    """The process and its children run on that core."""
    for one in (process, *process.children(recursive=True)):
        one.cpu_affinity([core])


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """The port is open when this returns."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended") from None
            time.sleep(0.1)


def measure(command: list[str], environ: dict[str, str], dsn: str, loads: list[str], seconds: float) -> dict[str, dict[str, Any]]:
    """Load -> figures of one server."""
    port = free_port()
    found: dict[str, dict[str, Any]] = {}
    process = subprocess.Popen([part.replace("{port}", str(port)) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL if not os.environ.get("VERBOSE") else None,
                               env={**os.environ, "PYTHONPATH": str(ROOT), **environ})
    try:
        pin(psutil.Process(process.pid), SERVER_CORE)
        await_port(port, process)
        for load in loads:
            execute(dsn, EMPTY)
            before = sum(psutil.Process(process.pid).cpu_times()[:2])
            said = subprocess.run([sys.executable, "-m", "benchmarks.load", str(port), "--seconds", str(seconds), *LOADS[load]], cwd=ROOT,
                                  capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CORE}))
            if said.returncode:
                raise SystemExit(said.stderr)
            figures = json.loads(said.stdout.strip().splitlines()[-1])
            figures["cpu us/event"] = (sum(psutil.Process(process.pid).cpu_times()[:2]) - before) / max(1, figures["stored"]) * 1e6
            found[load] = figures
    finally:
        process.terminate()
        process.wait()
    return found


def execute(dsn: str, sql: str) -> Any:
    """Rows of a statement, outside a transaction."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else None
    connection.close()
    return rows


def world() -> str:
    """A database with 10 000 users, their contacts, devices and tokens, on the other core."""
    dsn = fresh_database()
    random.seed(1)
    execute(dsn, SEED)
    execute(dsn, SESSIONS)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        ring.give(cursor, range(1, 10_001))
    connection.close()
    execute(dsn, "VACUUM ANALYZE")
    backend = psycopg2.connect(dsn)
    postmaster = psutil.Process(backend.info.backend_pid).parent()
    assert postmaster is not None
    pin(postmaster, OTHER_CORE)
    backend.close()
    return dsn


def report(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """The table."""
    columns = ("events/s", "put p50", "put p99", "frame p50", "frame p99", "cpu us/event")
    faults = ("lost", "doubled", "strayed", "failed")
    print(f"{'load':12} {'server':26}", *(f"{c:>12}" for c in columns), *(f"{f:>8}" for f in faults))
    for load in LOADS:
        for name, by_load in results.items():
            runs = by_load.get(load, [])
            if runs:
                middle = [statistics.median(r[c] for r in runs) for c in columns]
                print(f"{load:12} {name:26}", *(f"{m:12.2f}" for m in middle), *(f"{sum(r[f] for r in runs):8}" for f in faults))
    for load in LOADS:
        ours = results["interactd"].get(load)
        for name in (n for n in results if n != "interactd"):
            theirs = results[name].get(load)
            if ours and theirs:
                events = statistics.median(a["events/s"] / b["events/s"] for a, b in zip(ours, theirs))
                frame = statistics.median(a["frame p50"] / b["frame p50"] for a, b in zip(ours, theirs))
                print(f"ratio to {name}, {load}: events/s {events:.2f}, latency PUT to frame {frame:.2f}")


def main() -> None:
    """Runs the rounds and prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--loads", nargs="*", default=list(LOADS), choices=list(LOADS))
    o = options.parse_args()
    dsn = world()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as state:
        ring.write(Path(state) / "keys")
        for _ in range(o.rounds):
            for name, (command, environ) in servers(dsn, state).items():
                for load, figures in measure(command, environ, dsn, o.loads, o.seconds).items():
                    results.setdefault(name, {}).setdefault(load, []).append(figures)
    report(results)


if __name__ == "__main__":
    main()
