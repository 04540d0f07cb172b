"""People over real HTTP: the first login, bulk wrong passwords, stolen and expired tokens, forged cookies, other sites."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK, wait_until

FIRST_PASSWORD = "tin-roof-under-rain"
STUDIES = "/dicom-web/studies"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom whose web port listens on every address of this machine, so that everybody logs in."""
    folder = tmp_path_factory.mktemp("people")
    with Fileroom(folder, workers=1, web_workers=2, http_host="0.0.0.0", admin_password=FIRST_PASSWORD) as running:
        yield running


@pytest.fixture
def client(house: Fileroom) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, timeout=30) as client:
        yield client


def _log_in(client: httpx.Client, login: str, password: str) -> httpx.Response:
    return client.post("/login", data={"username": login, "password": password})


def _token(house: Fileroom, name: str, role: str = "researcher", *more: str) -> str:
    made = house.command("token", "create", "--name", name, "--role", role, *more)
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"fr_[\w-]{43}\n", made.stdout)  # the token alone, for $(...)
    return made.stdout.strip()


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _curl(*arguments: str) -> str:
    return subprocess.run(["curl", "-s", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_first_account_logs_in_and_out(house: Fileroom, client: httpx.Client) -> None:
    assert client.get(STUDIES).status_code == 401
    assert _log_in(client, "admin", FIRST_PASSWORD).status_code == 303
    assert client.get(STUDIES).status_code == 200
    page = client.get("/account").text
    token = re.search(r'name="form_token" value="(\w+)"', page)
    assert token is not None
    cookies = dict(client.cookies)
    assert client.post("/logout", data={"form_token": token[1]}).headers["location"] == "/login"
    # Another worker may believe the cookie for a few seconds more.
    wait_until(lambda: httpx.get(house.url + STUDIES, cookies=cookies).status_code == 401, 10, "the end of the session")


def test_a_random_first_password_is_printed_once(tmp_path: Path) -> None:
    with Fileroom(tmp_path, workers=1, web_workers=1, web_login="always") as running:
        printed = re.search(r"as admin with password ((?:[a-z2-9]{5}-){3}[a-z2-9]{5})", running.log_text())
        assert printed is not None
        with httpx.Client(base_url=running.url, timeout=30) as client:
            assert client.get(STUDIES).status_code == 401
            assert _log_in(client, "admin", printed[1]).status_code == 303
            assert client.get(STUDIES).status_code == 200
        running.stop()
        before = running.log_text().count(printed[1])
        running.start()
        assert running.log_text().count(printed[1]) <= before


ALLOWED = 5
"""Wrong passwords before an account must wait: a second, and twice as long each time."""
FAILURES = 9


def test_wrong_passwords_in_bulk_are_stopped(house: Fileroom) -> None:
    added = house.command("user", "add", "bulk", "--role", "physician", "--password", "four lamps over water")
    assert added.returncode == 0, added.stderr
    statuses: list[int] = []
    while statuses.count(401) < FAILURES:
        assert len(statuses) < 1000, "nobody is stopped"
        statuses.append(_log_in_once(house, f"guess {len(statuses)}"))
    assert statuses[:ALLOWED] == [401] * ALLOWED
    assert 429 in statuses[ALLOWED:]
    # The last guess failed just now: for the next seconds even the right one is not looked at.
    assert _log_in_once(house, "four lamps over water") == 429
    assert house.command("user", "unlock", "bulk").returncode == 0
    assert _log_in_once(house, "four lamps over water") == 303


def _log_in_once(house: Fileroom, password: str) -> int:
    with httpx.Client(base_url=house.url, timeout=30) as client:
        return _log_in(client, "bulk", password).status_code


def test_a_token_works_for_curl_until_it_is_revoked(house: Fileroom) -> None:
    token = _token(house, "curl")
    status = ("-o", "/dev/null", "-w", "%{http_code}", house.url + STUDIES)
    assert _curl("-H", f"Authorization: Bearer {token}", *status) == "200"
    assert _curl("-u", f"curl:{token}", *status) == "200"
    assert _curl("-u", f"admin:{FIRST_PASSWORD}", *status) == "200"
    assert _curl("-H", f"Authorization: Bearer {token}x", *status) == "401"
    assert house.command("token", "revoke", "curl").returncode == 0
    wait_until(lambda: _curl("-H", f"Authorization: Bearer {token}", *status) == "401", 10, "the end of the token")


def test_an_expired_token_is_refused(house: Fileroom, client: httpx.Client) -> None:
    token = _token(house, "expires", "researcher", "--days", "1")
    house.execute("UPDATE api_token SET expires_at = now() - interval '1 second' WHERE name = 'expires'")
    answer = client.get(STUDIES, headers=_bearer(token))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("forged", ["x", "x" * 43, "../../etc/passwd", "' OR 1=1 --", "%00", "A" * 5000])
def test_a_forged_cookie_opens_nothing(client: httpx.Client, forged: str) -> None:
    for name in ("fileroom_session", "__Host-fileroom_session"):
        answer = client.get(STUDIES, headers={"cookie": f"{name}={forged}"})
        assert answer.status_code == 401


def test_another_site_changes_nothing(house: Fileroom, client: httpx.Client) -> None:
    assert _log_in(client, "admin", FIRST_PASSWORD).status_code == 303
    form = {"login": "cross", "password": "four lamps over water", "role": "administrator"}
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {}):
        assert client.post("/admin/people/add", data=form, headers=headers).status_code == 403
    assert "cross" not in house.command("user", "list").stdout


def test_what_a_role_does_not_allow_is_refused(house: Fileroom, client: httpx.Client) -> None:
    auditor = _bearer(_token(house, "auditor", "auditor"))
    assert client.get(STUDIES, headers=auditor).status_code == 403
    assert client.get("/metrics", headers=auditor).status_code == 200
    assert client.get("/admin/people", headers=auditor).status_code == 403


def test_commands_tell_what_is_wrong_in_one_line(house: Fileroom) -> None:
    for arguments in (
        ("user", "add", "weak", "--role", "physician", "--password", "password1234"),
        ("user", "add", "x", "--role", "wizard", "--password", "four lamps over water"),
        ("user", "disable", "nobody"),
        ("user", "disable", "admin"),
        ("token", "create", "--name", "x", "--role", "wizard"),
        ("token", "revoke", "nothing"),
    ):
        result = house.command(*arguments)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
        assert result.stdout == ""


def test_secrets_are_in_no_log(house: Fileroom) -> None:
    token = _token(house, "secret")
    with httpx.Client(base_url=house.url, timeout=30) as client:
        client.get(STUDIES, headers=_bearer(token))
        _log_in(client, "admin", FIRST_PASSWORD)
        _log_in(client, "nobody", "my-secret-typing")
        secret = client.cookies.get("fileroom_session", "")
    logged = house.log_text()
    assert secret
    for one in (token, FIRST_PASSWORD, "my-secret-typing", secret):
        assert one not in logged
    assert LOOPBACK in logged
