"""An authenticator made of a few lines, which does whatever a test asks of it: the honest answer, or one that is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

USER_PRESENT, USER_VERIFIED, HAS_CREDENTIAL = 1, 4, 64


def b64(value: bytes) -> str:
    """As bytes stand in the JSON of WebAuthn."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


class SoftPasskey:
    """One key pair (P-256), good at `site`."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential_id = secrets.token_bytes(32)
        self.handle = b""
        self.count = 0

    def make(self, options: str, origin: str, **changes: Any) -> str:
        """The answer to creation options (PublicKeyCredential as JSON)."""
        asked = json.loads(options)
        self.handle = base64.urlsafe_b64decode(asked["user"]["id"] + "==")
        numbers = self.key.public_key().public_numbers()
        public_key = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        flags = changes.get("flags", USER_PRESENT | USER_VERIFIED) | HAS_CREDENTIAL
        data = self._authenticator_data(flags, changes.get("site", self.site))
        data += bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + public_key
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", asked["challenge"], origin, changes)
        response = {"clientDataJSON": b64(client_data), "attestationObject": b64(attestation)}
        return self._credential(response)

    def show(self, options: str, origin: str, **changes: Any) -> str:
        """The answer to request options. `changes`: flags, count, site, type, handle, signature."""
        asked = json.loads(options)
        self.count = changes.get("count", self.count + 1)
        data = self._authenticator_data(
            changes.get("flags", USER_PRESENT | USER_VERIFIED), changes.get("site", self.site)
        )
        client_data = self._client_data("webauthn.get", asked["challenge"], origin, changes)
        signed = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        handle = changes.get("handle", self.handle)
        response = {
            "clientDataJSON": b64(client_data),
            "authenticatorData": b64(data),
            "signature": b64(changes.get("signature", signed)),
            "userHandle": b64(handle) if handle is not None else None,
        }
        return self._credential(response)

    def _authenticator_data(self, flags: int, site: str) -> bytes:
        return hashlib.sha256(site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    @staticmethod
    def _client_data(kind: str, challenge: str, origin: str, changes: dict[str, Any]) -> bytes:
        return json.dumps({"type": changes.get("type", kind), "challenge": challenge, "origin": origin}).encode()

    def _credential(self, response: dict[str, Any]) -> str:
        name = b64(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
