"""The event path the usual way: FastAPI on uvicorn and uvloop, asyncpg, one call of a statement per event.

    python -m benchmarks.peers.fastapi_events PORT DSN intake     the same function that interactd calls, one event a call
    python -m benchmarks.peers.fastapi_events PORT DSN simple     the plain statement: token, contact by number, two inserts
"""
from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator

import asyncpg
import phonenumbers
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from benchmarks.ring import trigger_token
from interactd.events.wire import SETTINGS

PORT, DSN, FORM = int(sys.argv[1]), sys.argv[2], sys.argv[3]
SIMPLE = """WITH u AS (SELECT id AS trigger_id, user_id FROM trigger_devices WHERE token_hash = $1),
 i AS (INSERT INTO interactions (user_id, type, data, time, sort_time, receiver_id, person_id, created_seq, seq)
   SELECT u.user_id, $2, $3, $4, $4, $5, (SELECT b.contact_id FROM basic_infos b JOIN contacts c ON c.id = b.contact_id AND c.contact_type = 'person'
     WHERE b.user_id = u.user_id AND b.canon = $6 ORDER BY b.id LIMIT 1), 0, 0 FROM u RETURNING id, user_id, type, data, time, person_id),
 a AS (INSERT INTO activities (user_id, action, entity_type, entity_id) SELECT user_id, 'insert', 'interaction', id FROM i)
SELECT user_id, id, json_build_object('id', id, 'type', type, 'data', data, 'time', time, 'person', person_id)::text FROM i"""
INTAKE = "SELECT * FROM intake($1, $2, true)"


# The session settings that the function wants, given at the start of a connection: what is SET later goes with asyncpg's RESET ALL.
WANTED = dict(re.findall(r"SET (\w+) = '?(\w+)'?", SETTINGS)) if FORM == "intake" else {}


@contextlib.asynccontextmanager
async def pooled(app: FastAPI) -> AsyncIterator[None]:
    """The pool."""
    async with asyncpg.create_pool(DSN, min_size=8, max_size=8, server_settings=WANTED) as app.state.pool:
        yield


app = FastAPI(lifespan=pooled)
owners = {trigger_token(user): user for user in range(1, 1001)}
sockets: dict[int, set[WebSocket]] = collections.defaultdict(set)


class Interaction(BaseModel):
    """The body of an event."""

    type: str
    data: str
    receiverId: str
    time: int


def canonical(data: str) -> phonenumbers.PhoneNumber:
    """The number, read as interactd reads it."""
    return phonenumbers.parse(data, "DE")


async def simple(i: Interaction, token: str) -> tuple[int, int, str, str]:
    """User, id, entity, frame by the plain statement."""
    canon = phonenumbers.format_number(canonical(i.data), phonenumbers.PhoneNumberFormat.E164)
    row = await app.state.pool.fetchrow(SIMPLE, hashlib.sha256(token.encode()).digest(), i.type, i.data, i.time, i.receiverId, canon)
    if row is None:
        raise HTTPException(401, "unknown token")
    return row[0], row[1], row[2], json.dumps({"type": i.type, "data": i.data, "interactionId": row[1]})


async def intake(i: Interaction, token: str) -> tuple[int, int, str, str]:
    """User, id, entity, frame by interactd's own function."""
    number, owner = canonical(i.data), owners[token]      # as from a warm cache
    canon, national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), str(number.national_number)
    digest = hashlib.sha256(token.encode()).hexdigest()
    event = {"n": 0, "hash": digest, "owner": owner, "target": owner, "region": "DE", "area_code": "555", "type": i.type, "data": i.data,
             "time": i.time, "receiver_id": i.receiverId, "canon": canon, "ext": "", "nsn": national, "tail": national[-8:], "canon_version": 1,
             "kind": "phone", "listed": False, "call": f"{i.type}{i.data}{i.time}"}
    row = await app.state.pool.fetchrow(INTAKE, json.dumps([event]), [owner])
    if row["outcome"] != "stored":
        raise HTTPException(401, row["outcome"])
    return row["user_id"], row["id"], row["entity"], row["frame"]


store = {"simple": simple, "intake": intake}[FORM]


@app.put("/v2/interactions")
async def put(i: Interaction, triggerToken: str = Header(convert_underscores=False)) -> Response:
    """Stores an event and pushes it to the owner's sockets."""
    user, _, entity, frame = await store(i, triggerToken)
    for socket in tuple(sockets.get(user, ())):
        await socket.send_text(frame)
    return Response(f'{{"code":201,"entity":{entity},"devmsg":"success"}}', 201, media_type="application/json")


@app.websocket("/v2/socket")
async def socket(ws: WebSocket, deviceId: str, authToken: str) -> None:
    """A device's socket; the token is taken at its word."""
    await ws.accept()
    user = int(authToken.rpartition("-")[2])
    sockets[user].add(ws)
    try:
        while True:
            await ws.receive_text()
    except WebSocketDisconnect:
        sockets[user].discard(ws)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="error", backlog=4096)
