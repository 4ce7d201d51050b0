"""Kinds of configuration values: each turns the text of a key into a value, or says what would be right."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, Callable
from urllib.parse import unquote

import attrs
from attrs import evolve, frozen
from phonenumbers import SUPPORTED_REGIONS
from twisted.internet.endpoints import serverFromString

#: addresses that need no quoting in SMTP and no extension of it
MAIL_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@frozen
class Server:
    """An external server: where it is, whether that may be a private network, and which other hosts get the user's password."""

    name: str
    url: str
    private: bool = False
    hosts: tuple[str, ...] = ()         # `*.example.com`: every host below it


@frozen
class Key:
    """What is known about one key besides its name."""

    default: str
    read: Callable[[str], Any]
    doc: str
    secret: bool


def key(default: str, read: Callable[[str], Any], doc: str, secret: bool = False) -> Any:
    """An attribute of a section: its default as it stands in the file, its kind, and what it does.

    A `secret` may also be given as the name of a file, under its own name with `-file`.
    """
    return attrs.field(factory=lambda: read(default), metadata={"key": Key(default, read, doc, secret)}, repr=not secret)


def keys(section: type) -> dict[str, tuple[str, Key]]:
    """The keys of a section by their names in the file, each with its attribute."""
    return {field.name.rstrip("_").replace("_", "-"): (field.name, field.metadata["key"]) for field in attrs.fields(section)}


def text(value: str) -> str:
    """Any text."""
    return value


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number in these bounds."""
    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII) or not lowest <= int(value) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(value)
    return read


def number(lowest: float, highest: float) -> Callable[[str], float]:
    """A number in these bounds, with a point for fractions."""
    def read(value: str) -> float:
        if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", value, re.ASCII) or not lowest <= float(value) <= highest:
            raise ValueError(f"a number from {lowest:g} to {highest:g}")
        return float(value)
    return read


def size(lowest: int, highest: int) -> Callable[[str], int]:
    """A number of bytes; `KiB`, `MiB` and `GiB` are understood."""
    units = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

    def read(value: str) -> int:
        found = re.fullmatch(r"(\d{1,15}) ?(KiB|MiB|GiB|)", value, re.ASCII)
        bytes_ = int(found[1]) * units[found[2]] if found else -1
        if not lowest <= bytes_ <= highest:
            raise ValueError(f"a number of bytes from {lowest} to {highest}, such as 16384 or 1 MiB")
        return bytes_
    return read


def yes_no(value: str) -> bool:
    """`yes` or `no`."""
    if value not in ("yes", "no"):
        raise ValueError("yes or no")
    return value == "yes"


def choice(*allowed: str) -> Callable[[str], str]:
    """One of these words."""
    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return value
    return read


def listed(read_one: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Several values with commas between them; empty for none."""
    return lambda value: tuple(read_one(part.strip()) for part in value.split(",") if part.strip())


def folder(value: str) -> Path:
    """The absolute path of a folder; a relative one starts where the daemon was started."""
    if not value:
        raise ValueError("the path of a folder")
    return Path(value).expanduser().absolute()


def file_or_none(value: str) -> Path | None:
    """The absolute path of a file, None for an empty text."""
    return Path(value).expanduser().absolute() if value else None


def endpoint(value: str) -> str:
    """A Twisted server endpoint string."""
    try:
        serverFromString(None, value)     # only parsed here; the service asks again with its reactor
    except Exception as wrong:
        raise ValueError(f"a Twisted endpoint such as tcp:8080:interface=127.0.0.1 ({wrong or type(wrong).__name__})") from None
    return value


def host(value: str) -> str:
    """The name or address of a server, or nothing."""
    if not re.fullmatch(r"[A-Za-z0-9.:-]*", value, re.ASCII):
        raise ValueError("the name of a server, such as smtp.example.com, or nothing")
    return value


def mail_address(value: str) -> str:
    """An e-mail address that any mail server takes, or nothing."""
    if value and not MAIL_ADDRESS.fullmatch(value):
        raise ValueError("an e-mail address such as interactd@example.com, or nothing")
    return value


def web_address(value: str) -> str:
    """An http or https address without a closing slash, or nothing."""
    if not re.fullmatch(r"(https?://[^\s/?#]+(/[^\s?#]*)?)?", value):
        raise ValueError("an address such as https://interact.example.com, or nothing")
    return value.rstrip("/")


def origin(value: str) -> str:
    """A web origin: scheme, host and, if need be, port."""
    if not re.fullmatch(r"https?://[^\s/?#,]+", value):
        raise ValueError("origins such as https://app.example.com with commas between them")
    return value.lower()


def network(value: str) -> Network:
    """An address or a network of addresses."""
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("addresses or networks such as 127.0.0.1, 10.0.0.0/8, ::1 with commas between them") from None


def server(value: str) -> Server:
    """An external server: its name, its address, and perhaps `private` and more hosts of its own, with blanks between."""
    name, url, *rest = value.split() + [""] * (2 - len(value.split()))
    if not (re.fullmatch(r"[a-z][a-z0-9-]{0,29}", name) and name != "google" and re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url)):
        raise ValueError("servers such as nextcloud https://cloud.example.com with commas between them; `private` behind the address "
                         "allows private networks, and hosts there, such as *.example.com, get the password too")
    return Server(name, url, "private" in rest, tuple(word.lower() for word in rest if word != "private"))


def host_and_port(value: str) -> str:
    """A host name or IPv4 address with a port, or nothing."""
    if not re.fullmatch(r"([A-Za-z0-9.-]{1,253}:[1-9]\d{0,4})?", value):
        raise ValueError("a host and its port, such as api.push.apple.com:443, or nothing")
    return value


def bundle_id(value: str) -> str:
    """The name of an app at Apple, or nothing."""
    if not re.fullmatch(r"[A-Za-z0-9.-]{0,155}", value):
        raise ValueError("the bundle id of an app, such as com.example.interact, or nothing")
    return value


def apple_id(value: str) -> str:
    """The ten characters by which Apple knows a key or a team, or nothing."""
    if not re.fullmatch(r"([A-Z0-9]{10})?", value):
        raise ValueError("ten capital letters and digits, or nothing")
    return value


def region(value: str) -> str:
    """A country for national phone numbers."""
    if value not in SUPPORTED_REGIONS:
        raise ValueError("an ISO 3166 country code in capitals, such as DE")
    return value


def area_code(value: str) -> str:
    """A local area code without the national prefix, or nothing."""
    if not re.fullmatch(r"([1-9]\d{0,7})?", value, re.ASCII):
        raise ValueError("an area code in digits without the national prefix, such as 30 for Berlin, or nothing")
    return value


def database(value: str) -> str:
    """`embedded` or the address of a PostgreSQL."""
    if value != "embedded" and not re.match(r"postgres(ql)?://", value):
        raise ValueError("embedded, or an address such as postgresql://interactd@db.example.com/interactd")
    return value


@frozen
class RedisAddress:
    """A Redis or Valkey server, or a Sentinel that knows one. `user` and `password` are those of the Redis."""

    host: str
    port: int
    database: int | None = None
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    tls: bool = False
    sentinel: bool = False

    @property
    def asked(self) -> RedisAddress:
        """A Sentinel as a server of its own, which has no databases and wants no password."""
        return evolve(self, database=None, user="", password="")

    def named(self, host: str, port: int) -> RedisAddress:
        """The Redis that this Sentinel has named."""
        return evolve(self, host=host, port=port, sentinel=False)


def bus(value: str) -> tuple[RedisAddress, ...]:
    """`postgresql` (no addresses), or addresses of Redis servers or Sentinels with commas between."""
    return () if value == "postgresql" else tuple(_redis(part.strip()) for part in value.split(","))


def _redis(value: str) -> RedisAddress:
    found = re.fullmatch(r"(rediss?|sentinels?)://(?:([^\s:@/]*):([^\s@/]*)@)?([^\s:@/]+)(?::(\d{1,5}))?(?:/(\d{1,4}))?", value)
    if not found or int(found[5] or 1) > 65535:
        raise ValueError("postgresql, or addresses such as redis://host:6379/0, rediss://user:password@host, sentinel://host:26379 "
                         "with commas between them")
    scheme, user, password, host, port, database = found.groups()
    sentinel = scheme.startswith("sentinel")
    return RedisAddress(host, int(port or (26379 if sentinel else 6379)), int(database) if database else None, unquote(user or ""),
                        unquote(password or ""), scheme in ("rediss", "sentinels"), sentinel)
