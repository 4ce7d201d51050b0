"""Is it alive, is it ready, what does it count (contract section 13): for whoever runs the daemon."""
from __future__ import annotations

import ipaddress
import shutil

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from interactd.api.answer import Answer, value
from interactd.api.call import PUBLIC, call
from interactd.api.context import Context
from interactd.db import Statement
from interactd.errors import Forbidden, Unavailable
from interactd.migrate import migrations

ENOUGH = 64 << 20          # bytes free under the state directory, below which the daemon is not ready
SCHEMA = Statement("probe_schema", "SELECT max(version) FROM schema_versions")
ALIVE = {"type": "object", "required": ["alive"], "properties": {"alive": {"const": True}}}
READY = {"type": "object", "required": ["ready"], "properties": {"ready": {"const": True}}}


@call("GET", "/healthz", may=PUBLIC, realm=0, name="probe.alive", answer=ALIVE)
async def alive(c: Context) -> Answer:
    """The process answers."""
    return value({"alive": True})


@call("GET", "/readyz", may=PUBLIC, realm=0, name="probe.ready", answer=READY)
async def ready(c: Context) -> Answer:
    """It can work: the database answers and has this version's schema, the bus was reached, the disk has room; else 503.

    A bus that is lost later does not count: every node would be taken out of service at once, though each can do its work without.
    """
    if (await c.one(SCHEMA))[0] != migrations()[-1].version:
        raise Unavailable("the database does not have the schema of this version")
    if not c.app.bus.reached:
        raise Unavailable("the bus to the other nodes has not been reached yet")
    if shutil.disk_usage(c.config.state.directory).free < ENOUGH:
        raise Unavailable("the disk is full")
    return value({"ready": True})


@call("GET", "/metrics", may=PUBLIC, realm=0, name="probe.metrics", answer={"type": "string"}, media=("text/plain",),
      refuses=(Forbidden("not from this address"),))
async def metrics(c: Context) -> Answer:
    """Counters and timings for Prometheus; read from the addresses that `[http] metrics-from` names."""
    if not _near(c):
        raise Forbidden("not from this address")
    return Answer(200, generate_latest(), media=CONTENT_TYPE_LATEST)


def _near(c: Context) -> bool:
    said = c.asked.address
    # What comes through a proxy that is not trusted has the proxy's address, whoever sent it.
    if "x-forwarded-for" in c.asked.headers and said in ("local", getattr(c.asked.raw.getClientAddress(), "host", "local")):
        return False
    return said == "local" or any(ipaddress.ip_address(said) in network for network in c.config.http.metrics_from)


CALLS = (alive, ready, metrics)
