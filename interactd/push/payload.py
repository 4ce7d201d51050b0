"""What a push says (contract section 8), in as many bytes as Apple takes."""
from __future__ import annotations

import unicodedata
from typing import Any

import orjson

_JOINERS = "\u200d"         # holds emoji together


def payload(notice: bytes | str, size: int, *, private: bool = False, sound: str = "default") -> bytes:
    """The payload for a notification's JSON. `private`: only the event's id, for the app to ask by."""
    said: dict[str, Any] = orjson.loads(notice)
    if private:
        return orjson.dumps({"aps": {"alert": "New event", **_sound(sound), "mutable-content": 1}, "interactionId": said["interactionId"]})
    name = (said.get("match") or {}).get("contactName") or ""
    whole = _made(said, name, sound)
    if len(whole) <= size:
        return whole
    fits, too_long = 0, len(name)               # characters of the name
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if len(_made(said, cut(name, middle), sound)) <= size else (fits, middle)
    return _made(said, cut(name, fits), sound)


def text(kind: str, data: str, name: str) -> str:
    """The alert: `Incoming call from NAME (NUMBER)`."""
    what, _, way = kind.partition("-")
    word = {"im": "chat", "sms": "SMS"}.get(what, what)
    who = f"{name} ({data})" if name and data else name or data or "unknown"
    return f"{way.capitalize()} {word} {'from' if way == 'incoming' else 'to'} {who}"


def cut(said: str, characters: int) -> str:
    """The beginning, of so many characters at most, and an ellipsis; what belongs to one visible character stays together."""
    if characters >= len(said):
        return said
    while 0 < characters and (_belongs(said[characters]) or said[characters - 1] in _JOINERS):
        characters -= 1
    return said[:characters].rstrip() + "…"


def _belongs(character: str) -> bool:
    """Whether it goes on what stands before it: accents, variants, skin tones, joiners."""
    return bool(unicodedata.combining(character)) or unicodedata.category(character) in ("Mn", "Me", "Mc") or character in _JOINERS \
        or "\U0001f3fb" <= character <= "\U0001f3ff"


def _made(said: dict[str, Any], name: str, sound: str) -> bytes:
    data = said.get("data") or ""
    contact = (said.get("match") or {}).get("contactId")
    thread = f"contact-{contact}" if contact else data or "unknown"
    return orjson.dumps({"aps": {"alert": text(said["type"], data, name), **_sound(sound), "thread-id": thread[:64]},
                         **({"data": data} if data else {}), "type": said["type"], "interactionId": said["interactionId"]})


def _sound(sound: str) -> dict[str, str]:
    return {"sound": sound} if sound else {}
