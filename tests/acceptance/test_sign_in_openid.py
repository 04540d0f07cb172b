"""Logging in by an OpenID provider: the whole way over TLS, every wrong token, keys that change, a provider that is down."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pydicom
import pytest
from pydicom.uid import generate_uid

from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.openid_provider import FAULTS, OpenIdProvider, Person
from corpus.ct import make_ct_series

FIRST_PASSWORD = "tin-roof-under-rain"
STUDIES = "/dicom-web/studies"
ROLES = '{"pacs-admins": "administrator", "ct-desk": {"role": "technologist", "modalities": ["CT"]}, "readers": "radiologist"}'
DOWN = "Hospital ID cannot be asked now"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    with OpenIdProvider(tmp_path_factory.mktemp("openid")) as running:
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[Fileroom]:
    """A Fileroom that the provider's people may enter; it has one CT study and one MR study."""
    folder = tmp_path_factory.mktemp("house")
    settings = {"workers": 1, "web_workers": 1, "web_login": "always", "admin_password": FIRST_PASSWORD}
    with Fileroom(folder, **settings, **provider.settings, oidc_roles=ROLES) as running:
        provider.redirect_uris.append(f"{running.url}/login/openid/return")
        for modality, seed in (("CT", 4101), ("MR", 4102)):
            _import_study(running, folder / modality, modality, seed)
        yield running


@pytest.fixture(autouse=True)
def _well(provider: OpenIdProvider) -> Iterator[None]:
    yield
    provider.fault, provider.skew_s, provider.groups_in_userinfo = "", 0, False


@pytest.fixture
def browser(house: Fileroom, provider: OpenIdProvider) -> Iterator[httpx.Client]:
    with _browser(house, provider) as client:
        yield client


def _browser(house: Fileroom, provider: OpenIdProvider) -> httpx.Client:
    context = ssl.create_default_context(cafile=provider.ca)
    return httpx.Client(base_url=house.url, timeout=30, verify=context)


def _import_study(house: Fileroom, folder: Path, modality: str, seed: int) -> None:
    for path in make_ct_series(folder, 1, 32, seed):
        dataset = pydicom.dcmread(path)
        dataset.Modality, dataset.StudyInstanceUID = modality, generate_uid()
        dataset.save_as(path)
    done = house.command("import", folder)
    assert done.returncode == 0, done.stderr


def _leave(browser: httpx.Client, person: str, following: str = "/") -> str:
    """As far as the provider's answer: the address it sends the browser back to."""
    begun = browser.get("/login/openid", params={"next": following})
    assert begun.status_code == 303, begun.text
    answer = browser.post(begun.headers["location"], data={"person": person})
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


def _log_in(browser: httpx.Client, person: str, following: str = "/") -> httpx.Response:
    return browser.get(_leave(browser, person, following))


def _modalities(browser: httpx.Client) -> set[str]:
    answer = browser.get(STUDIES, params={"includefield": "00080061"}, headers={"accept": "application/dicom+json"})
    assert answer.status_code == 200, answer.text
    return {value for study in answer.json() for value in study["00080061"]["Value"]}


def _reason(answer: httpx.Response) -> str:
    found = re.search(r'class="refused" role="alert">\s*(.*?)\s*</p>', answer.text, re.DOTALL)
    return found[1] if found else ""


def test_a_person_comes_in_with_the_role_of_their_group(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    assert "Log in with Hospital ID" in browser.get("/login").text
    provider.add(Person("s-1", "Reader@hospital.example", "Rita Reader", ["readers", "others"]))
    answer = _log_in(browser, "Reader@hospital.example", "/studies/download?x=1")
    assert answer.status_code == 303, _reason(answer)
    assert answer.headers["location"] == "/studies/download?x=1"
    assert _modalities(browser) == {"CT", "MR"}
    assert browser.get("/admin/people").status_code == 403
    ((login, source, role, password),) = house.rows(
        "SELECT login, source, role, password_hash FROM account WHERE subject = %s", f"{provider.issuer} s-1"
    )
    assert (login, source, role, password) == ("reader@hospital.example", "openid", "radiologist", None)
    listed = house.command("user", "list").stdout
    assert re.search(r"reader@hospital\.example.*openid", listed), listed
    trail = house.command("audit", "search", "--json").stdout
    assert "OpenID Connect (Hospital ID)" in trail


def test_the_groups_decide_which_studies_somebody_sees(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    person = Person("s-2", "cora", "Cora", ["ct-desk"])
    provider.add(person)
    assert _log_in(browser, "cora").status_code == 303
    assert _modalities(browser) == {"CT"}
    person.groups = ["readers"]
    assert _log_in(browser, "cora").status_code == 303
    assert _modalities(browser) == {"CT", "MR"}


def test_groups_and_names_may_come_from_userinfo(provider: OpenIdProvider, browser: httpx.Client) -> None:
    provider.groups_in_userinfo = True
    provider.add(Person("s-3", "uwe", "Uwe", ["ct-desk"]))
    assert _log_in(browser, "uwe").status_code == 303
    assert _modalities(browser) == {"CT"}


def test_who_is_in_no_group_is_told_so_and_what_they_had_is_gone(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    person = Person("s-4", "gina", "Gina", ["readers"])
    provider.add(person)
    assert _log_in(browser, "gina").status_code == 303
    form = browser.get("/account").text
    token = re.search(r'name="form_token" value="(\w+)"', form)
    assert token is not None
    made = browser.post("/account/tokens", data={"form_token": token[1], "name": "script"})
    bearer = re.search(r"fr_[\w-]{43}", made.text)
    assert bearer is not None, made.text
    person.groups = ["others"]
    with _browser(house, provider) as other:
        answer = _log_in(other, "gina")
    assert answer.status_code == 403
    assert "gina is in no group that has a role here" in _reason(answer)
    assert house.rows("SELECT count(*) FROM session s JOIN account a ON a.id = account_id WHERE login = 'gina'") == [
        (0,)
    ]
    assert httpx.get(house.url + STUDIES, headers={"authorization": f"Bearer {bearer[0]}"}).status_code in (401, 403)
    provider.add(Person("s-5", "nobody", "", []))
    assert _log_in(browser, "nobody").status_code == 403
    assert house.rows("SELECT count(*) FROM account WHERE login = 'nobody'") == [(0,)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_token_lets_nobody_in(
    provider: OpenIdProvider, house: Fileroom, browser: httpx.Client, fault: str
) -> None:
    provider.add(Person("s-6", "fay", "Fay", ["pacs-admins"]))
    provider.fault = fault
    answer = _log_in(browser, "fay")
    assert answer.status_code == 401, fault
    assert _reason(answer).startswith("Hospital ID did not let you in: its ID token does not hold")
    assert "fileroom_session" not in browser.cookies
    assert house.rows("SELECT count(*) FROM account WHERE login = 'fay'") == [(0,)]
    house.execute("DELETE FROM login_failure")  # twelve of these in a row look like guessing


@pytest.mark.parametrize(("skew_s", "status"), [(90, 303), (-380, 303), (-3600, 401), (3600, 401)])
def test_clocks_may_be_apart_a_little(
    provider: OpenIdProvider, browser: httpx.Client, skew_s: int, status: int
) -> None:
    provider.add(Person("s-7", "tick", "Tick", ["readers"]))
    provider.skew_s = skew_s
    answer = _log_in(browser, "tick")
    assert answer.status_code == status
    assert status == 303 or "are the clocks right?" in _reason(answer)


def test_the_provider_may_change_its_keys(provider: OpenIdProvider, house: Fileroom, browser: httpx.Client) -> None:
    provider.add(Person("s-8", "kay", "Kay", ["readers"]))
    assert _log_in(browser, "kay").status_code == 303
    known = provider.asked.count("/keys")
    assert _log_in(browser, "kay").status_code == 303
    assert provider.asked.count("/keys") == known  # remembered
    provider.change_keys()
    # Keys are asked for again at once, unless they were asked for within the last seconds.
    answers = []
    while not answers or (answers[-1] != 303 and len(answers) < 200):
        answers.append(_log_in(browser, "kay").status_code)
        house.execute("DELETE FROM login_failure")
    assert answers[-1] == 303


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-9", "otto", "Otto", ["readers"]))
    back = _leave(browser, "otto")
    with _browser(house, provider) as other:
        assert other.get(back).status_code == 401
        assert other.get("/login/openid").status_code == 303
        assert other.get(back).status_code == 401  # its own login has another state
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert browser.get(f"/login/openid/return?code=guessed&state={state}").status_code == 401
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 401  # the code is used
    for forged in ("", "x", "e30", "%00", "A" * 5000):
        answer = httpx.get(
            house.url + "/login/openid/return?code=c&state=s", headers={"cookie": f"fileroom_openid={forged}"}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_nobody_is_sent_elsewhere(provider: OpenIdProvider, browser: httpx.Client, elsewhere: str) -> None:
    provider.add(Person("s-10", "ole", "Ole", ["readers"]))
    assert _log_in(browser, "ole", elsewhere).headers["location"] == "/"


def test_a_login_that_another_account_has_is_refused(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-11", "admin", "Somebody else", ["pacs-admins"]))
    answer = _log_in(browser, "admin")
    assert answer.status_code == 409
    assert "The login admin belongs to another account here" in _reason(answer)
    assert browser.get(STUDIES).status_code == 401


def test_what_the_provider_refuses_is_told(provider: OpenIdProvider, browser: httpx.Client) -> None:
    answer = _log_in(browser, "a stranger")
    assert answer.status_code == 401
    assert _reason(answer) == "Hospital ID did not let you in: access_denied."
    begun = browser.get("/login/openid")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    answer = browser.get("/login/openid/return", params={"state": state, "error": "<script>alert(1)</script>"})
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text


def test_a_disabled_account_stays_out_and_its_sessions_end(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-12", "dora", "Dora", ["readers"]))
    assert _log_in(browser, "dora").status_code == 303
    assert house.command("user", "disable", "dora").returncode == 0
    assert house.rows("SELECT count(*) FROM session s JOIN account a ON a.id = account_id WHERE login = 'dora'") == [
        (0,)
    ]
    assert _log_in(browser, "dora").status_code == 401
    refused = house.command("user", "password", "dora", "--password", "four lamps over water")
    assert refused.returncode == 2
    assert "Hospital ID" in refused.stderr or "provider" in refused.stderr


def test_an_access_token_of_the_provider_opens_nothing(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-13", "tom", "Tom", ["pacs-admins"]))
    assert _log_in(browser, "tom").status_code == 303
    id_token = house.rows("SELECT id_token FROM session WHERE id_token IS NOT NULL LIMIT 1")[0][0]
    for token in (list(provider.access_tokens)[-1], id_token):
        answer = httpx.get(house.url + STUDIES, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_logging_out_ends_the_session_of_the_provider_too(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-14", "lou", "Lou", ["readers"]))
    assert _log_in(browser, "lou").status_code == 303
    token = re.search(r'name="form_token" value="(\w+)"', browser.get("/account").text)
    assert token is not None
    answer = browser.post("/logout", data={"form_token": token[1]})
    onward = answer.headers["refresh"].removeprefix("0; url=")
    assert onward.startswith(f"{provider.issuer}/logout?")
    assert browser.get(onward).headers["location"] == f"{house.url}/login"
    assert provider.logouts[-1]["client_id"] == "fileroom"
    assert provider.logouts[-1]["id_token_hint"].count(".") == 2
    assert house.rows("SELECT count(*) FROM session s JOIN account a ON a.id = account_id WHERE login = 'lou'") == [
        (0,)
    ]


def test_in_a_browser_one_comes_in_and_leaves_both(house: Fileroom, provider: OpenIdProvider) -> None:
    """What the content security policy does to a form that leads elsewhere, and to cookies, only a browser shows."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    provider.add(Person("s-16", "chris", "Chris", ["readers"]))
    logouts = len(provider.logouts)
    with chromium() as running:
        page = running.new_context(ignore_https_errors=True).new_page()
        page.goto(f"{house.url}/account")
        page.click("text=Log in with Hospital ID")
        page.fill("input[name=person]", "chris")
        page.click("button")
        page.wait_for_url(f"{house.url}/account")
        assert page.inner_text("h1") == "Chris"
        page.click('form[action="/logout"] button')
        page.wait_for_url(f"{house.url}/login")
        assert len(provider.logouts) == logouts + 1
        page.goto(f"{house.url}/account")
        assert "/login" in page.url


def test_a_provider_that_is_down_is_named_and_an_administrator_enters(
    house: Fileroom, provider: OpenIdProvider, browser: httpx.Client
) -> None:
    provider.add(Person("s-15", "dawn", "Dawn", ["readers"]))
    back = _leave(browser, "dawn")
    provider.stop()
    try:
        answer = browser.get(back)
        assert answer.status_code == 503
        assert DOWN in _reason(answer)
        house.stop()
        house.start()  # it does not need the provider to start
        answer = browser.get("/login/openid")
        assert answer.status_code == 503
        assert DOWN in _reason(answer)
        assert 'name="password"' in answer.text
        assert browser.post("/login", data={"username": "admin", "password": FIRST_PASSWORD}).status_code == 303
        assert browser.get(STUDIES).status_code == 200
    finally:
        provider.start()
