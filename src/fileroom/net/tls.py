"""TLS of our connections: which versions and suites (PS3.15 B.12, B.9, B.10), whom we trust, and who the other end is.

A `KeyPair` and a `Trust` are what contexts are made from; `admin.tls_in_use` has those of the stored certificates. A
context never changes once it is made: after a change another one serves the connections that come then.

The profile is BCP 195 (RFC 8996, RFC 9325): TLS 1.2 and 1.3, AEAD suites with ephemeral keys, nothing below. The two DHE
suites, which RFC 9325 no longer recommends, stand last: the retired non-downgrading profile (B.10) names them, and
devices of its time may have no other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from fileroom.core.errors import ConfigurationError, PeerRefusedError

ClientCertificates = Literal["required", "optional", "off"]
"""What a server asks of its callers."""

_SUITES_OF_TLS_1_2: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256"
)
"""RFC 9325 4.2, then B.10. Those of TLS 1.3 are all good, and OpenSSL's own three."""
_DH_GROUP: Final = Path(__file__).with_name("ffdhe2048.pem")
"""The group of RFC 7919 A.1: DHE keys of 2048 bits, the least that the profiles allow and the most that old devices take."""
_NAME_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate of ours: its chain as PEM, leaf first, and the file of its key."""

    chain_pem: str
    key_file: Path


@dataclass(frozen=True, slots=True)
class Trust:
    """Certificates that others are checked by, as PEM, and the serial numbers that were revoked, by their issuer's
    encoded name (X.509 Name, DER)."""

    anchors_pem: str = ""
    revoked: Mapping[bytes, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PeerTls:
    """How a peer that we call is checked, as its node says it.

    `fingerprint`: SHA-256 of its certificate in hex; then that very certificate is wanted, whoever has signed it. Else it
    must come from a trusted issuer, and be for the host that we call or, where one is stated, for `subject`: the parts of
    a distinguished name that it must have, for example CN=ct1,O=Hospital. `shows_ours`: we show our certificate if asked.
    """

    fingerprint: str = ""
    subject: str = ""
    check_name: bool = True
    shows_ours: bool = True


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What `net.association_client.connect` needs for a call over TLS."""

    context: ssl.SSLContext
    wanted: PeerTls = PeerTls()
    trust: Trust = Trust()


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a port needs: the context for new connections, and what their certificates are checked by besides."""

    context: ssl.SSLContext
    trust: Trust


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Who the other end is. `subject` as in RFC 4514, empty where the certificate was not checked by an issuer."""

    subject: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.subject or 'certificate'} (SHA-256 {self.fingerprint[:16]}...)"


def server_context(
    own: KeyPair, trust: Trust, clients: ClientCertificates, *, protocols: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """A context for what we accept. Raises ConfigurationError where certificate or key cannot be used."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    if clients != "off":
        # A session that is taken up again would not show its certificate, whatever was revoked meanwhile.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        _trust(context, trust)
        context.verify_mode = ssl.CERT_REQUIRED if clients == "required" else ssl.CERT_OPTIONAL
    context.load_dh_params(str(_DH_GROUP))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    _show(context, own)
    return context


def client_tls(own: KeyPair | None, trust: Trust, wanted: PeerTls) -> ClientTls:
    """What a call over TLS needs; with `own` we show a certificate when asked. Raises ConfigurationError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = wanted.check_name and not wanted.fingerprint and not wanted.subject
    if wanted.fingerprint:
        context.verify_mode = ssl.CERT_NONE  # `check_peer` looks at the very certificate
    else:
        _trust(context, trust)
    if own is not None and wanted.shows_ours:
        _show(context, own)
    return ClientTls(context, wanted, trust)


def peer_certificate(ssl_object: ssl.SSLObject | None) -> PeerCertificate | None:
    """Who the other end has shown to be; None without TLS or certificate."""
    shown = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    if ssl_object is None or not shown:
        return None
    return PeerCertificate(_name_text((ssl_object.getpeercert() or {}).get("subject", ())), _fingerprint(shown))


def check_peer(ssl_object: ssl.SSLObject, wanted: PeerTls | None, trust: Trust) -> None:
    """What OpenSSL has not checked: revocation, and a fingerprint. Raises PeerRefusedError."""
    shown = ssl_object.getpeercert(binary_form=True)
    if not shown:
        return  # the context says whether that is good enough
    if wanted is not None and wanted.fingerprint:
        _check_pinned(shown, wanted.fingerprint)
        return
    told = _name_text((ssl_object.getpeercert() or {}).get("subject", ()))
    if wanted is not None and wanted.subject and not subject_fits(told, wanted.subject):
        raise PeerRefusedError(
            f"its certificate is that of {told}, not of {wanted.subject}; correct the node, or find out why"
        )
    if trust.revoked and _is_revoked(shown, trust.revoked):
        raise PeerRefusedError("its certificate was revoked by its issuer; it needs a new one")


def subject_fits(shown: str, wanted: str) -> bool:
    """Whether a subject (RFC 4514) has all wanted parts, whatever their order and case."""
    parts, needed = ({part.strip().casefold() for part in text.split(",")} for text in (shown, wanted))
    return needed <= parts


def why_refused(error: BaseException) -> str:
    """A failed handshake as half a sentence, from our point of view, with what to do next."""
    if isinstance(error, PeerRefusedError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_REASONS.get(error.verify_code) or f"its certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _HANDSHAKE_REASONS.get(getattr(error, "reason", "") or "") or f"the TLS handshake failed: {error}"
    if isinstance(error, TimeoutError):
        return "it did not finish the TLS handshake in time"
    return "it closed the connection during the TLS handshake"


_VERIFY_REASONS: Final[Mapping[int, str]] = {
    9: "its certificate is not valid yet; compare the clocks, or give it a new one",
    10: "its certificate has expired; it needs a new one",
    18: "its certificate is signed by itself and not trusted; add it under Certificates > Trusted, if it is genuine",
    19: "the root of its certificate is not trusted; add it under Certificates > Trusted, if it is the right one",
    20: "the issuer of its certificate is not trusted; add the issuer under Certificates > Trusted",
    21: "its certificate came without its intermediate issuers, or its issuer is not trusted",
    62: "its certificate is for another host name; correct the address, give it a certificate for this name, or state the "
    "fingerprint at the node",
    64: "its certificate is for another address; correct the address, give it a certificate for this one, or state the "
    "fingerprint at the node",
}
"""By OpenSSL's X509_V_ERR numbers."""
_HANDSHAKE_REASONS: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate; give it one from a trusted issuer",
    "UNSUPPORTED_PROTOCOL": "it speaks only versions of TLS before 1.2; upgrade it, or put a proxy before it",
    "NO_SHARED_CIPHER": "it offers no cipher suite of today; allow ECDHE with AES-GCM at its side",
    "WRONG_VERSION_NUMBER": "what it speaks is not TLS",
    "HTTP_REQUEST": "it spoke HTTP and not TLS",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the issuer of our certificate; give it the issuer's certificate, or ours",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks only versions of TLS before 1.2; upgrade it, or put a proxy before it",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake; it may want a certificate of ours, or has no suite of today",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it finds our certificate expired; renew it under Certificates",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate; give it ours, or its issuer's",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate; give it ours, or its issuer's",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept a certificate of our kind",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours; activate one for outgoing calls",
}


# --- contexts ---


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES_OF_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION
    return context


def _trust(context: ssl.SSLContext, trust: Trust) -> None:
    # A certificate that is trusted by itself need not be a root: devices come with one that only they have.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if trust.anchors_pem:
        context.load_verify_locations(cadata=trust.anchors_pem)


def _show(context: ssl.SSLContext, own: KeyPair) -> None:
    try:
        with _as_file(own.chain_pem) as chain:
            context.load_cert_chain(chain, own.key_file, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"The certificate with the key {own.key_file} cannot be used: {error}. Add it anew."
        ) from error


def _no_password() -> str:
    """Never ask on a terminal."""
    raise ValueError("the key is encrypted")


@contextlib.contextmanager
def _as_file(pem: str) -> Iterator[str]:
    """OpenSSL reads chains from files alone. What is in it is public."""
    descriptor, path = tempfile.mkstemp(prefix="fileroom-chain-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(pem)
        yield path
    finally:
        os.unlink(path)


# --- the other end ---


def _fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


# The two below parse certificates; both are rare, and a command that only echoes shall start at once, so they load
# cryptography when they are needed.


def _is_revoked(shown: bytes, revoked: Mapping[bytes, frozenset[int]]) -> bool:
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(shown)
    return certificate.serial_number in revoked.get(certificate.issuer.public_bytes(), frozenset())


def _check_pinned(shown: bytes, fingerprint: str) -> None:
    from cryptography import x509

    if _fingerprint(shown) != fingerprint:
        raise PeerRefusedError(
            f"its certificate has the fingerprint {_fingerprint(shown)}, not the one that the node states; if it was "
            "renewed, and only then, correct the node"
        )
    try:
        ends_at = x509.load_der_x509_certificate(shown).not_valid_after_utc
    except ValueError as error:
        raise PeerRefusedError("its certificate cannot be read") from error
    if ends_at < dt.datetime.now(dt.UTC):
        raise PeerRefusedError(_VERIFY_REASONS[10])


_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
}


def _name_text(name: Any) -> str:
    """A distinguished name of `getpeercert` in the order of RFC 4514, the last part first."""
    parts = [f"{_SHORT.get(key, key)}={value}" for group in name for key, value in group]
    return ",".join(reversed(parts))[:_NAME_CHARS_MAX]
