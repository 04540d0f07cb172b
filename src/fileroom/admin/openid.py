"""The OpenID provider: where its addresses are (OpenID Connect Discovery 1.0) and which keys it signs with (RFC 7517).

Both are remembered for a while. A provider changes its keys without a word: a token by a key that is not known makes the keys
be asked for again, though not more often than every OPENID_RETRY_S.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from fileroom.core.errors import ConfigurationError, PeerError, ProviderDownError, told
from fileroom.core.limits import OPENID_ANSWER_BYTES_MAX, OPENID_CACHE_S, OPENID_RETRY_S, OPENID_TIMEOUT_S
from fileroom.core.settings import Settings

if TYPE_CHECKING:
    from fileroom.net.json_client import JsonAnswer

_log = structlog.get_logger(__name__)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class ProviderAddresses:
    """What of a provider's own description (Discovery 3) is used; empty: it has none."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    end_session: str = ""
    takes_basic: bool = True
    """The client's secret goes into the header (RFC 6749 2.3.1), else into the form."""
    tells_issuer: bool = False
    """RFC 9207: every answer by way of the browser names the issuer."""


class OpenIdProvider:
    """What a process knows of the provider."""

    def __init__(self) -> None:
        self._busy = asyncio.Lock()
        self._issuer = ""
        self._addresses: ProviderAddresses | None = None
        self._keys: Mapping[str, Any] = {}
        self._addresses_at = self._keys_at = self._failed_at = float("-inf")

    async def addresses(self, settings: Settings) -> ProviderAddresses:
        """Raises ProviderDownError."""
        async with self._busy:
            if self._issuer != settings.oidc_issuer:
                self._issuer, self._addresses, self._keys = settings.oidc_issuer, None, {}
                self._failed_at = self._keys_at = float("-inf")
            if self._addresses is None or time.monotonic() - self._addresses_at > OPENID_CACHE_S:
                if not _is_safe(settings.oidc_issuer):
                    raise _set_up_wrongly(settings.oidc_issuer, "FILEROOM_OIDC_ISSUER is no address with https://")
                url = settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration"
                self._addresses = _addresses_of(await self._get(settings, url), settings.oidc_issuer)
                self._addresses_at = time.monotonic()
            return self._addresses

    async def keys(self, settings: Settings, *, anew: bool = False) -> Mapping[str, Any]:
        """The provider's public keys as a JWK set; `anew`: one was missing. Raises ProviderDownError."""
        addresses = await self.addresses(settings)
        async with self._busy:
            age = time.monotonic() - self._keys_at
            if not self._keys or age > (OPENID_RETRY_S if anew else OPENID_CACHE_S):
                self._keys = await self._get(settings, addresses.keys)
                self._keys_at = time.monotonic()
            return self._keys

    async def _get(self, settings: Settings, url: str) -> Mapping[str, Any]:
        """Once for all who wait: a moment after it was down, nobody waits for it again."""
        if time.monotonic() - self._failed_at < OPENID_RETRY_S:
            raise provider_down(settings)
        try:
            answer = await ask_provider(settings, url)
            if answer.status != 200 or not answer.body:
                _log.error("openid_provider_down", url=url, reason=f"it answers {answer.status} without a JSON object")
                raise provider_down(settings)
        except ProviderDownError:
            self._failed_at = time.monotonic()
            raise
        return answer.body


async def ask_provider(settings: Settings, url: str, **more: Any) -> JsonAnswer:
    """What it answers; `more` as in `JsonRequest`. Raises ProviderDownError."""
    # Only where there is a provider: it takes a tenth of a second to load.
    from fileroom.net.json_client import JsonRequest, ask_json

    try:
        asked = JsonRequest(url, OPENID_TIMEOUT_S, OPENID_ANSWER_BYTES_MAX, settings.oidc_ca, **more)
        return await ask_json(asked)
    except (PeerError, ConfigurationError) as error:
        _log.error("openid_provider_down", url=url, reason=str(error))
        raise provider_down(settings) from error


def provider_down(settings: Settings) -> ProviderDownError:
    """The sentence for people; the log has the reason."""
    return ProviderDownError(
        told(
            "{provider} cannot be asked now. Accounts of Fileroom itself, such as an administrator's, can log in; the log "
            "says why.",
            provider=settings.oidc_name,
        )
    )


def _addresses_of(found: Mapping[str, Any], issuer: str) -> ProviderAddresses:
    """Raises ProviderDownError where the description is another's, or lacks something, or leads over plain HTTP."""

    def text(name: str) -> str:
        value = found.get(name)
        return value if isinstance(value, str) and _is_safe(value) else ""

    if found.get("issuer") != issuer:  # Discovery 4.3: exactly
        reason = f"it calls itself {str(found.get('issuer'))!r:.200}; FILEROOM_OIDC_ISSUER must say the same"
    elif not (text("authorization_endpoint") and text("token_endpoint") and text("jwks_uri")):
        reason = "its description lacks an authorization_endpoint, token_endpoint or jwks_uri with https"
    else:
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return ProviderAddresses(
            authorization=text("authorization_endpoint"),
            token=text("token_endpoint"),
            keys=text("jwks_uri"),
            userinfo=text("userinfo_endpoint"),
            end_session=text("end_session_endpoint"),
            takes_basic="client_secret_basic" in methods,
            tells_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        )
    raise _set_up_wrongly(issuer, reason)


def _set_up_wrongly(issuer: str, reason: str) -> ProviderDownError:
    _log.error("openid_provider_set_up_wrongly", issuer=issuer, reason=reason)
    return ProviderDownError(
        told(
            "The OpenID provider is set up wrongly here; the log says what. Accounts of Fileroom itself, such as an "
            "administrator's, can log in."
        )
    )


def _is_safe(url: str) -> bool:
    """https; http only on this machine, for tests."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)
