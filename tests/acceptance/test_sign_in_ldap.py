"""Logging in by the password of a directory (slapd over TLS): groups, what changes there, what is refused, a directory that
is down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pydicom
import pytest
from pydicom.uid import generate_uid

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.slapd import PASSWORD, Slapd, slapd_is_installed
from corpus.ct import make_ct_series

FIRST_PASSWORD = "tin-roof-under-rain"
STUDIES = "/dicom-web/studies"
DOWN = "The directory (LDAP) cannot be asked now"
WRONG = "Login or password is wrong."
ROLES = {
    "pacs admins": "administrator",
    "CN=CT desk, OU=groups, DC=hospital, DC=example": {"role": "technologist", "modalities": ["CT"]},
    "Reading Room": "radiologist",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    if not slapd_is_installed():
        pytest.skip("needs slapd and openssl (Debian packages slapd and openssl)")
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


@pytest.fixture(scope="module")
def groups(directory: Slapd) -> dict[str, str]:
    """The groups of the mapping, by name, and one inside another."""
    made = {name: directory.add_group(name) for name in ("pacs admins", "CT desk", "Neuro")}
    return made | {"Reading Room": directory.add_group("Reading Room", made["Neuro"])}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, directory: Slapd) -> Iterator[Fileroom]:
    """A Fileroom that the directory's people may enter; it has one CT study and one MR study.

    The first server of the setting is never there.
    """
    folder = tmp_path_factory.mktemp("house")
    settings = {"workers": 1, "web_workers": 1, "web_login": "always", "admin_password": FIRST_PASSWORD}
    urls = f"ldaps://127.0.0.1:{free_ports(1)[0]} {directory.ldaps}"
    given = {**directory.settings, "ldap_url": urls, "ldap_roles": json.dumps(ROLES)}
    with Fileroom(folder, **settings, **given) as running:
        for modality, seed in (("CT", 4201), ("MR", 4202)):
            for path in make_ct_series(folder / modality, 1, 32, seed):
                dataset = pydicom.dcmread(path)
                dataset.Modality, dataset.StudyInstanceUID = modality, generate_uid()
                dataset.save_as(path)
        done = running.command("import", folder / "CT", folder / "MR")
        assert done.returncode == 0, done.stderr
        yield running


@pytest.fixture
def browser(house: Fileroom) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, timeout=30) as client:
        yield client


def _log_in(browser: httpx.Client, login: str, password: str = PASSWORD) -> httpx.Response:
    browser.cookies.clear()
    return browser.post("/login", data={"username": login, "password": password})


def _reason(answer: httpx.Response) -> str:
    found = re.search(r'class="refused" role="alert">\s*(.*?)\s*</p>', answer.text, re.DOTALL)
    return found[1] if found else ""


def _modalities(browser: httpx.Client) -> set[str]:
    answer = browser.get(STUDIES, params={"includefield": "00080061"}, headers={"accept": "application/dicom+json"})
    assert answer.status_code == 200, answer.text
    return {value for study in answer.json() for value in study["00080061"]["Value"]}


def _account(house: Fileroom, login: str) -> tuple[object, ...] | None:
    rows = house.rows("SELECT source, role, full_name, password_hash FROM account WHERE login = %s", login)
    return rows[0] if rows else None


def test_a_person_comes_in_with_the_role_of_a_group_that_holds_their_group(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    directory.add_member(groups["Neuro"], directory.add_person("rita", "Rita Lässig"))
    answer = _log_in(browser, " Rita ")
    assert answer.status_code == 303, _reason(answer)
    assert _modalities(browser) == {"CT", "MR"}
    assert browser.get("/admin/people").status_code == 403
    assert _account(house, "rita") == ("ldap", "radiologist", "Rita Lässig", None)
    listed = json.loads(house.command("user", "list", "--json").stdout)
    assert [one["source"] for one in listed if one["login"] == "rita"] == ["ldap"]
    assert "password of the directory" in house.command("audit", "search", "--json").stdout
    entry = json.loads(house.command("user", "directory", "rita", "--json").stdout)[0]
    assert (entry["group"], entry["role"]) == ("Reading Room", "radiologist")
    assert _log_in(browser, "admin", FIRST_PASSWORD).status_code == 303
    page = browser.get("/admin/people").text
    assert "Rita Lässig" in page
    assert "from the directory" in page


def test_the_groups_decide_which_studies_somebody_sees_at_each_login(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    carl = directory.add_person("carl")
    directory.add_member(groups["CT desk"], carl)
    assert _log_in(browser, "carl").status_code == 303
    assert _modalities(browser) == {"CT"}
    basic = httpx.get(house.url + STUDIES, auth=("carl", PASSWORD), headers={"accept": "application/dicom+json"})
    assert len(basic.json()) == 1
    directory.remove_member(groups["CT desk"], carl)
    directory.add_member(groups["Reading Room"], carl)
    assert _log_in(browser, "carl").status_code == 303
    assert _modalities(browser) == {"CT", "MR"}
    directory.remove_member(groups["Reading Room"], carl)
    answer = _log_in(browser, "carl")
    assert answer.status_code == 403
    assert "carl is in no group that has a role here" in _reason(answer)
    assert _account(house, "carl") == ("ldap", "", "carl", None)
    assert house.rows("SELECT count(*) FROM session s JOIN account a ON a.id = account_id WHERE login = 'carl'") == [
        (0,)
    ]


@pytest.mark.parametrize("password", ["wrong", "", " ", PASSWORD + " ", "\0", "x" * 5000])
def test_a_wrong_password_is_refused(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client, password: str
) -> None:
    if _account(house, "wanda") is None:
        directory.add_member(groups["Reading Room"], directory.add_person("wanda"))
        assert _log_in(browser, "wanda").status_code == 303
    answer = _log_in(browser, "wanda", password)
    assert (answer.status_code, _reason(answer)) == (401, WRONG)
    house.execute("DELETE FROM login_failure")


@pytest.mark.parametrize(
    "login", ["*", "w*", "wanda)(uid=*", "wanda\\2a", "uid=wanda", "ｗanda", "wan\u00adda", "wanda\0"]
)
def test_a_login_that_is_no_name_finds_nobody(
    house: Fileroom, directory: Slapd, browser: httpx.Client, login: str
) -> None:
    assert _log_in(browser, login).status_code in (401, 303)
    if browser.cookies:  # blanks and null characters fall away, as for every account
        assert login == "wanda\0"
    house.execute("DELETE FROM login_failure")


def test_guessing_is_stopped_before_it_reaches_the_directory(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    directory.add_member(groups["Reading Room"], directory.add_person("gus"))
    statuses = [_log_in(browser, "gus", f"guess {number}").status_code for number in range(12)]
    assert statuses[-1] == 429
    asked = directory.log_text().count('BIND dn="uid=gus')
    assert _log_in(browser, "gus").status_code == 429
    assert directory.log_text().count('BIND dn="uid=gus') == asked <= 12
    house.execute("DELETE FROM login_failure")


def test_an_account_of_fileroom_itself_is_never_the_directory_s(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    directory.add_member(groups["pacs admins"], directory.add_person("admin"))
    assert _log_in(browser, "admin", PASSWORD).status_code == 401
    assert _log_in(browser, "admin", FIRST_PASSWORD).status_code == 303
    own = house.command("user", "add", "nina", "--role", "physician", "--password", "four lamps over water")
    assert own.returncode == 0, own.stderr
    assert house.command("user", "disable", "nina").returncode == 0
    directory.add_member(groups["pacs admins"], directory.add_person("nina"))
    assert _log_in(browser, "nina").status_code == 401
    assert house.command("user", "rename", "nina", "nina-2019").returncode == 0
    assert _log_in(browser, "nina").status_code == 303
    house.execute("DELETE FROM login_failure")


def test_disabled_here_or_gone_there_nobody_comes_in(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    dina = directory.add_person("dina")
    directory.add_member(groups["Reading Room"], dina)
    assert _log_in(browser, "dina").status_code == 303
    assert house.command("user", "disable", "dina").returncode == 0
    wait_until(lambda: browser.get(STUDIES).status_code == 401, 10, "the end of the session")
    assert _log_in(browser, "dina").status_code == 401
    assert house.command("user", "enable", "dina").returncode == 0
    assert _log_in(browser, "dina").status_code == 303
    directory.remove(dina)
    assert _log_in(browser, "dina").status_code == 401
    directory.add_member(groups["pacs admins"], directory.add_person("dina"))  # somebody else of that name
    answer = _log_in(browser, "dina")
    assert answer.status_code == 409
    assert "The login dina belongs to another account here" in _reason(answer)
    house.execute("DELETE FROM login_failure")


def test_who_gets_another_login_keeps_the_account(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    maid = directory.add_person("maid")
    directory.add_member(groups["Reading Room"], maid)
    assert _log_in(browser, "maid").status_code == 303
    ((account,),) = house.rows("SELECT id FROM account WHERE login = 'maid'")
    married = directory.rename_person(maid, "married")
    directory.add_member(groups["Reading Room"], married)
    assert _log_in(browser, "married").status_code == 303
    assert house.rows("SELECT id FROM account WHERE login IN ('maid', 'married')") == [(account,)]


def test_what_the_directory_decides_is_not_changed_here(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    directory.add_member(groups["Reading Room"], directory.add_person("paul"))
    assert _log_in(browser, "paul").status_code == 303
    refused = house.command("user", "change", "paul", "--role", "administrator")
    assert refused.returncode == 2
    assert "paul comes from the directory (LDAP)" in refused.stderr
    token = re.search(r'name="form_token" value="(\w+)"', browser.get("/account").text)
    assert token is not None
    fields = {"form_token": token[1], "old": PASSWORD, "new": "four lamps over water"}
    answer = browser.post("/account/password", data=fields)
    assert answer.status_code == 409
    assert "paul comes from the directory (LDAP)" in answer.text
    made = browser.post("/account/tokens", data={"form_token": token[1], "name": "script"})
    bearer = re.search(r"fr_[\w-]{43}", made.text)
    assert bearer is not None
    assert httpx.get(house.url + STUDIES, headers={"authorization": f"Bearer {bearer[0]}"}).status_code == 200


def test_a_directory_that_is_down_is_named_and_an_administrator_enters(
    house: Fileroom, directory: Slapd, groups: dict[str, str], browser: httpx.Client
) -> None:
    directory.add_member(groups["Reading Room"], directory.add_person("late"))
    directory.stop()
    try:
        answer = _log_in(browser, "late")
        assert answer.status_code == 503
        assert DOWN in _reason(answer)
        assert 'name="password"' in answer.text
        basic = httpx.get(house.url + STUDIES, auth=("late", PASSWORD))
        assert basic.status_code == 503
        assert _log_in(browser, "admin", FIRST_PASSWORD).status_code == 303
        assert browser.get(STUDIES).status_code == 200
    finally:
        directory.start()
    assert _log_in(browser, "late").status_code == 303  # no restart, and no wait for what was not their fault


def test_starttls_is_asked_for_and_a_certificate_of_somebody_else_is_refused(
    directory: Slapd, groups: dict[str, str], house: Fileroom
) -> None:
    directory.add_member(groups["Reading Room"], directory.add_person("tess"))

    def look(**settings: object) -> tuple[int, str]:
        environment = {f"FILEROOM_{name.upper()}": str(value) for name, value in settings.items()}
        house.environment, kept = house.environment | environment, house.environment
        try:
            done = house.command("user", "directory", "tess", "--json")
        finally:
            house.environment = kept
        return done.returncode, done.stdout or done.stderr

    code, said = look(ldap_url=directory.ldap)
    assert (code, json.loads(said)[0]["role"]) == (0, "radiologist")
    assert "STARTTLS" in directory.log_text()
    code, said = look(ldap_url=directory.ldap, ldap_plain=True)
    assert code != 0
    assert "confidentiality required" in said
    code, said = look(ldap_ca="")
    assert code != 0
    assert "certificate verify failed" in said
    assert look(ldap_url=directory.ldaps.replace("127.0.0.1", "localhost"))[0] != 0  # the certificate has another name


def test_passwords_are_in_no_log(house: Fileroom, directory: Slapd) -> None:
    logged = house.log_text()
    assert PASSWORD not in logged
    assert "quiet-lamp-7" not in logged
