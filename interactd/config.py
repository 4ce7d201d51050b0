"""The configuration: frozen values, a section a class, a key an attribute with its default, kind and meaning.

configfile.py reads them once, at the start. `python -m interactd.config` prints the file with every key.
"""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
from attrs import frozen

from interactd.keys import (Network, RedisAddress, Server, apple_id, area_code, bundle_id, bus, choice, database, endpoint,
                            file_or_none, folder, host, host_and_port, key, listed, mail_address, network, number, origin, region,
                            server, size, text, web_address, whole, yes_no)

_MANY = 10 ** 9


@frozen
class Http:
    """How the API is reached."""

    listen: str = key("tcp:8080:interface=127.0.0.1", endpoint, "Where to listen, as a Twisted endpoint: tcp:8080, "
                      "ssl:443:privateKey=key.pem:certKey=cert.pem, unix:/run/interactd/http, systemd:domain=INET:index=0 …")
    public_url: str = key("", web_address, "The address clients use, where it is not the one in their `Host` (behind a proxy "
                          "with a path of its own): https://interact.example.com")
    allowed_origins: tuple[str, ...] = key("", listed(origin),
                                           "Web origins that may call the API (CORS), separated by commas.")
    metrics_from: tuple[Network, ...] = key("127.0.0.0/8, ::1", listed(network), "Addresses and networks that may read /metrics, with "
                                            "commas. A request that a proxy passes on counts as its client's.")
    trusted_proxies: tuple[Network, ...] = key("", listed(network), "Addresses and networks of trusted proxies, with commas.")
    jsonp_query_token: bool = key("no", yes_no, "Whether a JSONP call may carry its authToken in the query (proxies log it).")
    body_limit: int = key("1 MiB", size(1024, 1 << 30), "Largest body of a request.")
    picture_body_limit: int = key("8 MiB", size(1024, 1 << 30), "Largest body of a picture upload.")


@frozen
class Database:
    """Where the data is kept."""

    url: str = key("embedded", database, "`embedded`: interactd keeps a PostgreSQL in the state directory. Else the address of "
                   "a PostgreSQL 15 to 18, postgresql://user:password@host/database .", secret=True)
    pool: int = key("8", whole(1, 500), "Connections for ordinary calls.")
    event_pool: int = key("4", whole(1, 100), "Connections kept for incoming events alone.")
    run_as: str = key("", text, "The account of the embedded PostgreSQL when root starts interactd (PostgreSQL refuses root). "
                      "Empty:  postgres if the system has it, else an account `interactd` is made.")


@frozen
class State:
    """What interactd keeps on disk."""

    directory: Path = key("var", folder, "The state directory; nobody else may read it. A relative path counts from where "
                          "interactd is started.")


@frozen
class Auth:
    """Passwords and tokens."""

    session_days: int = key("14", whole(1, 3650), "Days after its last use for which a token is good.")
    session_max_days: int = key("90", whole(1, 3650), "Days after login when a token of scope `web portal` or `csr` ends.")
    password_min: int = key("6", whole(1, 256), "Fewest characters of a new password.")
    login_attempts: int = key("10", whole(1, 1_000_000), "Failed logins per account and address, and per address, before 429.")
    login_window: float = key("600", number(1, 86400), "Seconds over which failed logins are counted.")
    hashes_at_once: int = key("4", whole(1, 64), "Passwords checked at the same time, each in a thread.")
    hashes_waiting: int = key("64", whole(1, 10000), "Password checks that may wait; the next one is answered with 503.")
    trigger_keys_file: Path | None = key("", file_or_none, "File of the keys that trigger tokens are derived with. Empty: "
                                         "trigger-keys in the state directory. Several nodes need the same file.")
    argon2_memory_kib: int = key("65536", whole(8, 4 << 20), "Memory of one password check, in KiB.")
    argon2_time_cost: int = key("3", whole(1, 100), "Passes over this memory.")
    argon2_parallelism: int = key("1", whole(1, 16), "Lanes of one password check.")


@frozen
class Numbers:
    """How phone numbers without a country code are read."""

    region: str = key("DE", region, "The country of numbers without a country code, where the company says none.")
    area_code: str = key("", area_code, "The area code of local numbers, without national prefix, where the company says none.")


@frozen
class Limits:
    """Fair shares."""

    events_per_second: float = key("20", number(0.01, _MANY), "Events per second of one trigger token.")
    events_burst: int = key("500", whole(1, _MANY), "Events a trigger token may send at once after a pause.")
    waiting_per_user: int = key("200", whole(1, _MANY), "Events of one user that may wait for the database.")
    waiting: int = key("10000", whole(1, _MANY), "Events of all users that may wait for the database.")
    batch: int = key("128", whole(1, 10000), "Most events in one round trip to the database.")
    contacts: int = key("50000", whole(1, _MANY), "Contacts of one user.")
    items: int = key("200", whole(1, 100000), "Entries of each list inside a contact.")
    devices: int = key("200", whole(1, 100000), "Devices, and trigger devices, of one user.")
    sessions: int = key("50", whole(1, 100000), "Open sessions of one user; a login beyond them is refused.")
    pictures_at_once: int = key("1", whole(1, 64), "Pictures read at the same time, each in a thread; one may take some hundred MB.")
    pictures_waiting: int = key("16", whole(1, 10000), "Pictures that may wait to be read; the next one is answered with 503.")
    picture_bytes: int = key("1 GiB", size(0, 1 << 50), "Pictures of one user, together.")
    page_slice: int = key("500", whole(1, 100000), "Rows read at once while a long list is sent.")


@frozen
class Live:
    """The open sockets."""

    ping_every: float = key("30", number(1, 3600), "Seconds between pings.")
    ping_timeout: float = key("20", number(1, 3600), "Seconds without an answer to a ping after which a socket is closed.")
    heartbeat_every: float = key("25", number(1, 3600), "Seconds between application pings of interactd.1 (browsers see no others).")
    replay_most: int = key("1000", whole(1, _MANY), "Messages that are replayed to a socket; one that missed more must synchronize.")
    first_message_timeout: float = key("10", number(0.1, 3600), "Seconds in which a socket opened without a token must send one.")
    unauthenticated_per_address: int = key("20", whole(1, _MANY), "Sockets of one address that have not sent a token yet.")
    unauthenticated: int = key("1000", whole(1, _MANY), "Sockets of all addresses that have not sent a token yet.")
    sockets_per_user: int = key("20", whole(1, _MANY), "Open sockets of one user; one more closes the oldest.")
    message_bytes: int = key("16384", size(256, 1 << 24), "Largest message of a client.")
    messages_per_second: float = key("20", number(0.1, _MANY), "Messages per second of one socket.")
    backlog_bytes: int = key("262144", size(1024, 1 << 30), "Bytes that may wait for a slow reader before its socket is closed.")
    backlog_seconds: float = key("30", number(1, 3600), "Seconds for which bytes may wait for a slow reader.")
    ack_timeout: float = key("2", number(0.1, 3600), "Seconds for a device to acknowledge an event before another way is tried.")
    ring_time: float = key("60", number(1, 3600), "Seconds for which a call is worth a ringing notification.")
    sweep_every: float = key("5", number(0.1, 3600), "Seconds between two looks for silent sockets and unsent deliveries.")
    plain_types: tuple[str, ...] = key("", listed(text),
                                       "Interaction types pushed to plain clients, with commas between. Empty: all.")


@frozen
class Bus:
    """How several nodes on one database tell each other what happened (docs/nodes.md)."""

    url: tuple[RedisAddress, ...] = key("postgresql", bus, "`postgresql`: by LISTEN and NOTIFY. Else Redis or Valkey servers, the next of "
                                        "which is taken when one fails, or Sentinels: redis://user:password@host:6379/0, rediss:// and "
                                        "sentinels:// for TLS, with commas between.", secret=True)
    service: str = key("mymaster", text, "What the Sentinels call the Redis.")


@frozen
class Imports:
    """Contacts from other systems (docs/import.md)."""

    servers: tuple[Server, ...] = key("", listed(server), "CardDAV servers, each its name (which is what `externalSystem` says, "
                                      "`carddav` for the only one), its address, `private` if that may be in a private network, and other "
                                      "hosts that get the user's password, with commas between the servers: carddav "
                                      "https://dav.example.com private, icloud https://contacts.icloud.com *.icloud.com")
    ca_file: Path | None = key("", file_or_none, "Certificates (PEM) to trust instead of the system's, for servers with a private authority.")
    google_client_id: str = key("", text, "The OAuth client that Google knows interactd by. Empty: `google` is refused.")
    google_client_secret: str = key("", text, "Its secret.", secret=True)
    google_token_url: str = key("https://oauth2.googleapis.com/token", web_address, "Where refresh tokens are exchanged.")
    google_api_url: str = key("https://people.googleapis.com", web_address, "Where the People API is.")
    google_private: bool = key("no", yes_no, "Whether these two may be in a private network.")
    at_once: int = key("4", whole(1, 100), "Imports that run at the same time.")
    timeout: float = key("60", number(0.1, 600), "Seconds until another system must begin its answer.")
    answer_bytes: int = key("50 MiB", size(1024, 1 << 30), "Largest answer of another system.")
    contacts: int = key("50000", whole(1, 10 ** 9), "Most entries of one address book.")


@frozen
class Apns:
    """Pushes to Apple's devices (docs/apns.md). With topic and key they are on."""

    topic: str = key("", bundle_id, "The bundle id of the app, such as com.example.interact. Empty: no pushes.")
    key_file: Path | None = key("", file_or_none, "The key of the developer account, a .p8 file. A changed file is read again by itself.")
    key_id: str = key("", apple_id, "The key's id, ten characters.")
    team_id: str = key("", apple_id, "The team's id, ten characters.")
    certificate_file: Path | None = key("", file_or_none, "Instead of a key: a certificate and its key, both as PEM in one file.")
    environment: str = key("production", choice("production", "sandbox"), "Where the app's tokens come from: `sandbox` for apps that Xcode "
                           "has installed.")
    host: str = key("", host_and_port, "The host and port instead of the environment's, such as api.push.apple.com:2197.")
    ca_file: Path | None = key("", file_or_none, "Certificates that host is checked against, as PEM. Empty: those the system trusts.")
    private: bool = key("no", yes_no, "Whether a push holds the event's id only, and the app asks for the rest.")
    sound: str = key("default", text, "The sound of a push: its name in the app. Empty: none.")
    alert_time: float = key("300", number(1, 2592000), "Seconds for which a push is worth sending that does not ring (see [live] ring-time).")
    connections: int = key("2", whole(1, 100), "Most connections.")
    queue: int = key("10000", whole(1, 1_000_000), "Most pushes that wait in memory.")

    @property
    def on(self) -> bool:
        """Whether pushes are sent."""
        return bool(self.topic)


@frozen
class Mail:
    """Mails, which a forgotten password is reset by. Without a server, or without [http] public-url, there are none."""

    server: str = key("", host, "The name of the mail server (SMTP), which its certificate must bear: smtp.example.com")
    port: int = key("587", whole(1, 65535), "Its port; 465 is usual for `tls`.")
    security: str = key("starttls", choice("starttls", "tls"), "How the connection is made secret: `starttls` after the first words, "
                        "`tls` from the start. There is no way to send in the clear.")
    user: str = key("", text, "The account there. Empty: none is needed.")
    password: str = key("", text, "Its password.", secret=True)
    from_: str = key("", mail_address, "The address mails come from: interactd@example.com")
    ca_file: Path | None = key("", file_or_none, "Certificates (PEM) of which one must have signed the server's. Empty: those "
                               "that the system trusts.")
    timeout: float = key("30", number(0.05, 600), "Seconds for the server to take the connection, and for each of its answers.")
    waiting: int = key("1000", whole(1, 1_000_000), "Mails that may wait to be sent.")
    link_minutes: int = key("60", whole(1, 1440), "Minutes for which the link of a reset is good.")
    resets_per_account: int = key("3", whole(1, 1000), "Links of one account that are good at a time, the newest of which works; "
                                  "what is asked for beyond them is dropped.")
    resets_per_address: int = key("20", whole(1, 1_000_000), "Resets that one client address may ask for in an hour, before 429.")


@frozen
class Log:
    """What is written down."""

    level: str = key("info", choice("debug", "info", "warn", "error", "critical"), "The least important messages written.")
    access_sample: float = key("1", number(0, 1), "Share of the requests written to the access log, 0 to 1. Errors always are.")
    file: Path | None = key("", file_or_none, "The log file. Empty: what twistd says (standard output with -n).")


@frozen
class Config:
    """The whole configuration."""

    http: Http = attrs.field(factory=Http)
    database: Database = attrs.field(factory=Database)
    state: State = attrs.field(factory=State)
    auth: Auth = attrs.field(factory=Auth)
    numbers: Numbers = attrs.field(factory=Numbers)
    limits: Limits = attrs.field(factory=Limits)
    live: Live = attrs.field(factory=Live)
    bus: Bus = attrs.field(factory=Bus)
    imports: Imports = attrs.field(factory=Imports)
    apns: Apns = attrs.field(factory=Apns)
    mail: Mail = attrs.field(factory=Mail)
    log: Log = attrs.field(factory=Log)


SECTIONS: dict[str, type] = {section.name: section.default.factory for section in attrs.fields(Config)}  # type: ignore[union-attr]


if __name__ == "__main__":
    from interactd.configfile import example
    sys.stdout.write(example())
