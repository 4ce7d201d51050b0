"""`interactctl watch`: what a device of an account is told, one JSON object a line, for as long as one likes."""
from __future__ import annotations

from typing import Any

import orjson

from interactd.client.conversation import Place
from interactd.client.follow import Account, Client, Ended
from interactd.demo import Story
from interactd.refusals import Refusal


async def show(message: dict[str, Any], place: Place) -> None:
    """One line."""
    print(orjson.dumps(message).decode(), flush=True)


async def missed(place: Place) -> None:
    """A line that says that something is not shown."""
    print(orjson.dumps({"resync": True, "seq": place.seq, "epoch": place.epoch}).decode(), flush=True)


async def watch(reactor: Any, url: str, email: str, password: str, device_id: str) -> None:
    """Logs in, registers the device if it is new, and follows its socket until the process is told to stop."""
    story = Story(reactor, url.rstrip("/"))
    login = await story.call("POST", "/v2/login", {"username": email, "password": password, "scope": "device app"})
    story.token = login["token"]["authToken"]
    known = await story.call("GET", "/v2/devices")
    if not any(device["deviceId"] == device_id for device in known):
        await story.call("PUT", "/v2/devices", {"deviceId": device_id, "name": "interactctl watch"})
    client = Client(reactor, Account(url.replace("http", "ws", 1), story.token, device_id), show, resync=missed)
    reactor.addSystemEventTrigger("before", "shutdown", client.stop)
    try:
        await client.run()
    except Ended as ended:
        raise Refusal(f"the socket was closed: {ended}") from None
