"""Pushes per second, and processor time per push, to Node's HTTP/2 server beside aioapns: `scripts/bench apns [PUSHES]`.

The peer checks each request as Apple does. The clients take turns, each in a process of its own, over three rounds; the table shows
medians. Both have 200 pushes to send at any time: aioapns gives up when it is given more than its window for bodies holds.
"""
from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.apns_case import AUTHORITY, PEER, SERVER, TOPIC, program, token
from tests.certificates import key_pem, new_key

ROUNDS = 3
CLIENTS = ("interactd", "aioapns")
AT_ONCE = 200
MESSAGE = {"aps": {"alert": "Incoming call from Jane Doe (+49 30 123456)", "sound": "default", "thread-id": "contact-3"},
           "data": "+49 30 123456", "type": "call-incoming", "interactionId": 7}


def interactd(port: int, pushes: int, folder: Path) -> dict[str, float]:
    """Our pool."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, gatherResults

    from interactd.config import Apns
    from interactd.push.identity import identity
    from interactd.push.notification import Kind, Notification
    from interactd.push.pool import Limits, Pool
    mine = identity(Apns(topic=TOPIC, key_file=folder / "key.p8", key_id="KEYKEYKEY1", team_id="TEAMTEAM01", host=f"localhost:{port}",
                         ca_file=folder / "ca.pem"))
    assert mine is not None
    found: dict[str, float] = {}
    body = json.dumps(MESSAGE).encode()

    async def run() -> None:
        assert mine is not None
        clock: Any = reactor
        pool = Pool(mine.requests, mine.dial(reactor), clock, Limits(1, 1_000_000))

        def one(number: int) -> Any:
            return pool.send(Notification(token(number), TOPIC, body, clock.seconds() + 600, collapse_id=str(number)))
        await one(0)
        begin, spent = time.perf_counter(), time.process_time()
        numbers, ok = iter(range(pushes)), 0

        async def work() -> None:
            nonlocal ok
            for number in numbers:
                outcome = await one(number)
                ok += outcome.kind is Kind.OK
        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)])
        found.update(seconds=time.perf_counter() - begin, cpu=time.process_time() - spent, ok=ok)
        await pool.stop()
        clock.stop()
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))      # type: ignore[attr-defined]
    reactor.run()                                                       # type: ignore[attr-defined]
    return found


def aioapns(port: int, pushes: int, folder: Path) -> dict[str, float]:
    """The peer, with its defaults but for host and authority."""
    from aioapns import APNs, NotificationRequest, PushType
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.set_alpn_protocols(["h2"])

    async def run() -> dict[str, float]:
        client = APNs(key=(folder / "key.p8").read_text(), key_id="KEYKEYKEY1", team_id="TEAMTEAM01", topic=TOPIC, ssl_context=context)
        client.pool.protocol_class = type("Near", (client.pool.protocol_class,), {"APNS_SERVER": "localhost", "APNS_PORT": port})

        def one(number: int) -> Any:
            return client.send_notification(NotificationRequest(device_token=token(number), message=MESSAGE, collapse_key=str(number),
                                                                push_type=PushType.ALERT))
        await one(0)
        begin, spent = time.perf_counter(), time.process_time()
        numbers, ok = iter(range(pushes)), 0

        async def work() -> None:
            nonlocal ok
            for number in numbers:
                answer = await one(number)
                ok += answer.is_successful
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - spent, "ok": ok}
    return asyncio.run(run())


def main() -> None:
    """The table."""
    pushes = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    folder = Path(tempfile.mkdtemp())
    key = new_key()
    (folder / "key.p8").write_bytes(key_pem(key))
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    (folder / "server.pem").write_bytes(SERVER.both)
    (folder / "public.pem").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    options = {"key": str(folder / "server.pem"), "cert": str(folder / "server.pem"), "publicKey": str(folder / "public.pem"), "limit": 1000}
    peer = subprocess.Popen([program("node", "nodejs"), str(PEER), json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    port = json.loads(peer.stdout.readline())["port"]
    try:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
        for name in CLIENTS * ROUNDS:
            done = subprocess.run([sys.executable, "-m", "benchmarks.bench_apns", name, str(port), str(pushes), str(folder)], check=True,
                                  stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            if found[name][-1]["ok"] != pushes:
                sys.exit(f"{name}: only {found[name][-1]['ok']} of {pushes} were accepted")
    finally:
        peer.kill()
    show(found, pushes)


def show(found: dict[str, list[dict[str, float]]], pushes: int) -> None:
    """Medians, and the ratios to aioapns."""
    rate = {name: statistics.median(pushes / one["seconds"] for one in rounds) for name, rounds in found.items()}
    cost = {name: statistics.median(one["cpu"] / pushes * 1e6 for one in rounds) for name, rounds in found.items()}
    print(f"{'':12}{'pushes/s':>10}{'us cpu/push':>13}")
    for name in CLIENTS:
        print(f"{name:12}{rate[name]:10.0f}{cost[name]:13.0f}")
    print(f"{'ratio':12}{rate['interactd'] / rate['aioapns']:10.2f}{cost['aioapns'] / cost['interactd']:13.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CLIENTS:
        print(json.dumps({"interactd": interactd, "aioapns": aioapns}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
    else:
        main()
