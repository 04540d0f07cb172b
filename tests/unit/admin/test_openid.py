"""What a process knows of the OpenID provider: its description as it must be, remembered, and asked for once by all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fileroom.admin import openid
from fileroom.admin.openid import OpenIdProvider, provider_down
from fileroom.core.errors import ProviderDownError
from fileroom.core.settings import Settings
from fileroom.net.json_client import JsonAnswer

ISSUER = "https://id.example/hospital"
DESCRIPTION: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}
SETTINGS = Settings(oidc_issuer=ISSUER, oidc_name="Hospital ID")


class Web:
    """What the provider answers, by address; None: it is down."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            f"{ISSUER}/.well-known/openid-configuration": DESCRIPTION,
            f"{ISSUER}/keys": {"keys": [{"kid": "1"}]},
        }
        self.status = 200

    async def ask(self, settings: Settings, url: str, **more: Any) -> JsonAnswer:
        self.asked.append(url)
        await asyncio.sleep(0)
        if self.answers.get(url) is None:
            raise provider_down(settings)
        return JsonAnswer(self.status, self.answers[url])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(openid, "ask_provider", web.ask)
    return web


async def test_what_it_says_is_remembered(web: Web) -> None:
    provider = OpenIdProvider()
    found = await asyncio.gather(*(provider.keys(SETTINGS) for _ in range(10)))
    assert found == [{"keys": [{"kid": "1"}]}] * 10
    assert len(web.asked) == 2
    assert await provider.keys(SETTINGS, anew=True) == found[0]  # just asked: not again
    assert len(web.asked) == 2


async def test_a_key_that_is_missing_is_asked_for_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = OpenIdProvider()
    await provider.keys(SETTINGS)
    monkeypatch.setattr(openid, "OPENID_RETRY_S", -1.0)
    web.answers[f"{ISSUER}/keys"] = {"keys": [{"kid": "2"}]}
    assert await provider.keys(SETTINGS) == {"keys": [{"kid": "1"}]}
    assert await provider.keys(SETTINGS, anew=True) == {"keys": [{"kid": "2"}]}


@pytest.mark.parametrize("part", ["/.well-known/openid-configuration", "/keys"])
async def test_a_provider_that_is_down_is_asked_once_by_all_who_wait(
    web: Web, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    provider = OpenIdProvider()
    answer = web.answers.pop(ISSUER + part)
    found = await asyncio.gather(*(provider.keys(SETTINGS) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(one, ProviderDownError) and "Hospital ID" in str(one) for one in found)
    assert web.asked.count(ISSUER + part) == 1
    monkeypatch.setattr(openid, "OPENID_RETRY_S", -1.0)
    web.answers[ISSUER + part] = answer
    assert await provider.keys(SETTINGS)


async def test_other_settings_are_another_provider(web: Web) -> None:
    provider = OpenIdProvider()
    await provider.keys(SETTINGS)
    other = "https://other.example"
    web.answers[f"{other}/.well-known/openid-configuration"] = DESCRIPTION | {"issuer": other}
    await provider.addresses(Settings(oidc_issuer=other))
    assert web.asked[-1] == f"{other}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://id.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://[x"},
    ],
)
async def test_a_description_that_cannot_be_right_is_not_used(web: Web, change: dict[str, object]) -> None:
    web.answers[f"{ISSUER}/.well-known/openid-configuration"] = DESCRIPTION | change
    with pytest.raises(ProviderDownError, match="set up wrongly"):
        await OpenIdProvider().addresses(SETTINGS)


@pytest.mark.parametrize("issuer", ["http://id.example", "id.example", "ftp://id.example", "https://[x"])
async def test_an_issuer_without_tls_is_not_asked(web: Web, issuer: str) -> None:
    with pytest.raises(ProviderDownError, match="set up wrongly"):
        await OpenIdProvider().addresses(Settings(oidc_issuer=issuer))
    assert web.asked == []


async def test_what_is_optional_may_be_missing_or_wrong(web: Web) -> None:
    change = {
        "userinfo_endpoint": "http://id.example/userinfo",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }
    web.answers[f"{ISSUER}/.well-known/openid-configuration"] = DESCRIPTION | change
    found = await OpenIdProvider().addresses(SETTINGS)
    assert (found.userinfo, found.end_session, found.takes_basic, found.tells_issuer) == ("", "", False, False)


async def test_an_answer_that_is_none_means_down(web: Web) -> None:
    for status, body in ((500, DESCRIPTION), (200, {})):
        web.status, web.answers[f"{ISSUER}/.well-known/openid-configuration"] = status, body
        with pytest.raises(ProviderDownError, match="cannot be asked now"):
            await OpenIdProvider().addresses(SETTINGS)
