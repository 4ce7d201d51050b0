"""Who we are to Apple, and where Apple is: read from the configuration, refused when it can not be right."""
from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import PrivateCertificate

from interactd.config import Apns
from interactd.push.links import Dial, Link
from interactd.push.requests import Requests
from interactd.push.tokens import ProviderToken
from interactd.refusals import ConfigError
from interactd.tls import strict, trusted

HOSTS = {"production": "api.push.apple.com:443", "sandbox": "api.sandbox.push.apple.com:443"}
CONNECT_IN = 10.0       # seconds for TCP


@frozen
class Identity:
    """A key or a certificate, and the host that knows it."""

    host: str
    port: int
    token: ProviderToken | None
    certificate: PrivateCertificate | None
    expires: datetime | None
    trust: Any

    @property
    def requests(self) -> Requests:
        """What makes its requests."""
        return Requests(self.host if self.port == 443 else f"{self.host}:{self.port}", self.token)

    def dial(self, reactor: Any) -> Dial:
        """What connects to the host: its name looked up anew each time, its certificate checked strictly."""
        def connect(link: Link) -> Deferred[Any]:
            options = strict(self.host, trustRoot=self.trust, clientCertificate=self.certificate, acceptableProtocols=[b"h2"])
            endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, self.host, self.port))
            connected: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: link))
            return connected.addTimeout(CONNECT_IN, reactor)
        return connect


def identity(config: Apns) -> Identity | None:
    """That of the configuration; None where pushing is off, ConfigError where it is half configured."""
    if not (config.topic or config.key_file or config.certificate_file):
        return None
    if not config.topic:
        raise ConfigError("[apns] topic is missing: the bundle id of the app")
    if bool(config.key_file) == bool(config.certificate_file):
        raise ConfigError("[apns] needs one of key-file and certificate-file")
    host, _, port = (config.host or HOSTS[config.environment]).rpartition(":")
    token, certificate, expires = None, None, None
    if config.key_file:
        if not (config.key_id and config.team_id):
            raise ConfigError("[apns] key-file needs key-id and team-id")
        token = ProviderToken(_key(config.key_file), config.key_id, config.team_id, time.time)
    elif config.certificate_file:
        certificate, expires = _certificate(config.certificate_file)
    return Identity(host, int(port), token, certificate, expires, _trust(config.ca_file))


def _key(file: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(_content(file, "key-file"), None)
    except (ValueError, TypeError):
        raise ConfigError(f"[apns] key-file: {file} holds no private key without password, such as Apple's .p8 files") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigError(f"[apns] key-file: the key in {file} is none for ES256 (P-256)")
    return key


def _certificate(file: Path) -> tuple[PrivateCertificate, datetime]:
    pem = _content(file, "certificate-file")
    try:
        return PrivateCertificate.loadPEM(pem), x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (ValueError, OpenSSLError):
        raise ConfigError(f"[apns] certificate-file: {file} must hold a certificate and its key, both as PEM") from None


def _trust(file: Path | None) -> Any:
    try:
        return None if file is None else trusted(_content(file, "ca-file"))
    except (ValueError, OpenSSLError):
        raise ConfigError(f"[apns] ca-file: {file} holds no certificate") from None


def _content(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as fault:
        raise ConfigError(f"[apns] {key}: {file} can not be read ({fault.strerror})") from None
