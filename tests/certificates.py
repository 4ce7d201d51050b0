"""Certificates for tests: an authority, and what it signs, however odd."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """PKCS #8, as in Apple's .p8 files."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def dns(*names: str) -> list[x509.GeneralName]:
    """DNS entries, also of what is none."""
    return [x509.DNSName(name) for name in names]


def address(said: str) -> x509.GeneralName:
    """An IP entry."""
    return x509.IPAddress(ip_address(said))


@frozen
class Signed:
    """A certificate with its key."""

    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def both(self) -> bytes:
        """Key and certificate, one file for a server."""
        return key_pem(self.key) + self.pem


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _made(subject: str, key: Key, issuer: str, signer: Key, extensions: list[tuple[x509.ExtensionType, bool]]) -> x509.Certificate:
    now = datetime.now(timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30)))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


@frozen
class Authority:
    """Signs certificates; `pem` is what its friends trust."""

    name: str = "Test Authority"
    key: Key = field(factory=new_key)
    certificate: x509.Certificate = field(init=False)

    @certificate.default
    def _self_signed(self) -> x509.Certificate:
        usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, digital_signature=True, content_commitment=False, key_encipherment=False,
                              data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)
        return _made(self.name, self.key, self.name, self.key, [(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)])

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, names: list[x509.GeneralName], common: str = "leaf") -> Signed:
        """A certificate of these names; none makes one without the extension."""
        key = new_key()
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(ca=False, path_length=None), True)]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        return Signed(key, _made(common, key, self.name, self.key, extensions))
