"""TLS to other servers, whose name must be proven: a certificate that can not be read whole proves nothing.

Every connection that interactd opens by itself is made by one of these: `strict` for endpoints and STARTTLS, `StrictPolicy` for HTTPS.
"""
from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

log = Logger()


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _Strict:
    """Twisted's connections to `host`, with a name check that refuses on any exception."""

    host: str
    inner: Any

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection: SSL.Connection = self.inner.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def _verified(self, connection: SSL.Connection, certificate: Any, error: int, depth: int, chain_is_good: int) -> bool:
        if not chain_is_good or depth != 0:         # depth 0 is the server's own certificate
            return bool(chain_is_good)
        try:
            verify_service_identity(extract_patterns(certificate), [_identity(self.host)], [])
        except BaseException as fault:              # what leaves a callback of OpenSSL would be lost
            log.warn("the certificate of {host} is refused: {fault}", host=self.host, fault=str(fault) or type(fault).__name__)
            return False
        return True


def strict(host: str, **options: Any) -> IOpenSSLClientConnectionCreator:
    """TLS to `host`, a name or an address; `options` are those of Twisted's optionsForClientTLS."""
    return _Strict(host, optionsForClientTLS(host, **options))


def trusted(pem: bytes) -> Any:
    """A `trustRoot` of these certificates alone; ValueError for none."""
    found = [Certificate.loadPEM(one) for one in _PEM.findall(pem)]
    if not found:
        raise ValueError("there is no certificate")
    return trustRootFromCertificates(found)


@implementer(IPolicyForHTTPS)
@frozen
class StrictPolicy:
    """What twisted.web's Agent, and so treq, checks servers by: `Agent(reactor, StrictPolicy())`."""

    trust: Any = field(default=None)                # None: what the system trusts

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return strict(hostname.decode("ascii"), trustRoot=self.trust)


def _identity(host: str) -> Any:
    try:
        ip_address(host)
    except ValueError:
        return DNS_ID(host)
    return IPAddress_ID(host)
