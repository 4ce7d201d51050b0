"""Ordinary calls, side by side in one run: interactd and the same calls written the usual way.

    scripts/bench api [--rounds 3] [--seconds 5]

The server has one core, PostgreSQL and the load the other. Every round runs every server, so that a busy machine hits all alike.
Prints medians, and ratios to the FastAPI peer; processor time a request is what a busy machine spoils least.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bench_event, ring
from benchmarks.api_load import CONTACTS, FIRST, LOADS, USERS
from benchmarks.bench_event import OTHER_CORE, ROOT, Server, execute, world
from interactd.calls import CALLS

PEER = "fastapi"
EMPTY = "TRUNCATE notes, activities"
BESIDE = "one contact, beside a long list"
ALONE = (BESIDE, "sync")          # what the peer does not have
LONG = 200_000
SEED = f"""
INSERT INTO contacts (id, user_id, contact_type, first_name, last_name, profession, seq) OVERRIDING SYSTEM VALUE
  SELECT {FIRST} + (u - 1) * {CONTACTS} + g, u, 'person', 'Ada ' || g, 'Lovelace', 'mathematician', 0
  FROM generate_series(1, {USERS}) u, generate_series(0, {CONTACTS - 1}) g;
INSERT INTO basic_infos (user_id, contact_id, type, subtype, value, canon, nsn, tail)
  SELECT user_id, id, t, 'work', t || id, t || id, t || id, right(t || id, 8)
  FROM contacts, unnest(ARRAY['mobile', 'phone', 'email']) t WHERE id >= {FIRST};
INSERT INTO addresses (user_id, contact_id, address_line1, zip_code, city, country, subtype)
  SELECT user_id, id, '12 St James''s Square', 'SW1Y 4LB', 'London', 'England', 'home' FROM contacts WHERE id >= {FIRST};
INSERT INTO contact_tags (user_id, contact_id, tag) SELECT user_id, id, t FROM contacts, unnest(ARRAY['friend', 'customer']) t WHERE id >= {FIRST};
INSERT INTO contact_profiles (user_id, contact_id, network, connected, username)
  SELECT user_id, id, t, true, 'ada' || id FROM contacts, unnest(ARRAY['twitter', 'skype']) t WHERE id >= {FIRST};
INSERT INTO deals (user_id, name, contact_id, seq) SELECT user_id, 'deal ' || id, id, 0 FROM contacts WHERE id >= {FIRST};
INSERT INTO interactions (user_id, type, data, time, sort_time, person_id, created_seq, seq)
  SELECT user_id, 'call-incoming', '+49555', 1700000000000 + g, 1700000000000 + g, id, 0, 0
  FROM contacts, generate_series(1, 5) g WHERE id >= {FIRST};
INSERT INTO interactions (user_id, type, data, time, sort_time, created_seq, seq)
  SELECT 1, 'call-incoming', '+49555' || g, 1700000000000 + g, 1700000000000 + g, 0, 0 FROM generate_series(1, {LONG}) g;
"""


def servers(dsn: str, state: str) -> dict[str, Server]:
    """By name. Neither writes an access log."""
    ours = bench_event.servers(dsn, state)["interactd"]
    return {"interactd": Server(ours.command, {**ours.environ, "INTERACTD_LOG_ACCESS_SAMPLE": "0"}),
            PEER: Server([sys.executable, "-m", "benchmarks.peers.fastapi_api", "{port}", dsn], {})}


def loads() -> dict[str, list[str]]:
    """Load -> its options; what is not served yet is left out."""
    served = {c.path for c in CALLS}
    found = {name: [name] for name in LOADS if name != "sync" or "/v2/sync" in served}
    return {**found, BESIDE: ["one contact", "--beside", "--clients", "1"]}


def busy(processes: list[psutil.Process]) -> float:
    """Seconds of processor time that those which still are there have had."""
    return float(sum(sum(p.cpu_times()[:2]) for p in processes if p.is_running()))


def backends(dsn: str) -> list[psutil.Process]:
    """The processes of PostgreSQL."""
    folder = execute(dsn, "SHOW data_directory")[0][0]
    return list(psutil.Process(int((Path(folder) / "postmaster.pid").read_text().split()[0])).children())


def measure(server: Server, dsn: str, wanted: list[str], seconds: float, clients: int) -> dict[str, dict[str, Any]]:
    """Load -> figures of one server."""
    found: dict[str, dict[str, Any]] = {}
    with server.running() as (port, process):
        for load in wanted:
            postgres = backends(dsn)
            before, before_pg = busy([process]), busy(postgres)
            said = subprocess.run([sys.executable, "-m", "benchmarks.api_load", str(port), "--seconds", str(seconds), "--clients", str(clients),
                                   *loads()[load]], cwd=ROOT, capture_output=True, text=True,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CORE}))
            if said.returncode:
                raise SystemExit(said.stderr)
            figures = json.loads(said.stdout.strip().splitlines()[-1])
            for column, spent in (("cpu us", busy([process]) - before), ("postgres us", busy(postgres) - before_pg)):
                figures[column] = spent / max(1, figures["answered"]) * 1e6
            found[load] = figures
    return found


def alike(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Ends the run if the servers do not answer the same."""
    for load, runs in results["interactd"].items():
        for theirs in results[PEER].get(load, [])[:1]:
            ours = runs[0]["sample"]
            if load == "new note":
                for sample in (ours, theirs["sample"]):
                    sample["entity"].update(id=0, timestamp=0)
            if load != "sync" and ours != theirs["sample"]:
                raise SystemExit(f"{load}: the answers differ\n{json.dumps(ours)[:2000]}\n{json.dumps(theirs['sample'])[:2000]}")


def report(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """The table."""
    columns = ("requests/s", "p50", "p99", "max", "cpu us", "postgres us")
    print(f"{'load':32} {'server':10}", *(f"{c:>11}" for c in columns), f"{'failed':>7}")
    for load in loads():
        for name, by_load in results.items():
            runs = by_load.get(load, [])
            if runs:
                middle = [statistics.median(r[c] for r in runs) for c in columns]
                print(f"{load:32} {name:10}", *(f"{m:11.2f}" for m in middle), f"{sum(r['failed'] for r in runs):7}")
    for load in loads():
        ours, theirs = results["interactd"].get(load), results[PEER].get(load)
        if ours and theirs:
            by = {c: statistics.median(a[c] / b[c] for a, b in zip(ours, theirs)) for c in ("requests/s", "cpu us", "postgres us")}
            print(f"ratio to {PEER}, {load}: requests/s {by['requests/s']:.2f}, processor time of the server {by['cpu us']:.2f}, "
                  f"of PostgreSQL {by['postgres us']:.2f}")


def main() -> None:
    """Runs the rounds and prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--loads", nargs="*", default=list(loads()), choices=list(loads()))
    o = options.parse_args()
    dsn = world()
    execute(dsn, SEED)
    execute(dsn, "VACUUM ANALYZE")
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as state:
        ring.write(Path(state) / "keys")
        for _ in range(o.rounds):
            for name, server in servers(dsn, state).items():
                execute(dsn, EMPTY)
                wanted = [load for load in o.loads if name != PEER or load not in ALONE]
                for load, figures in measure(server, dsn, wanted, o.seconds, o.clients).items():
                    results.setdefault(name, {}).setdefault(load, []).append(figures)
    alike(results)
    report(results)


if __name__ == "__main__":
    main()
