"""Passkeys in Chromium with its virtual authenticator: making, logging in, the second step, and what must be refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Request, expect, sync_playwright

from acceptance.programs.browser import CHROMIUM
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.nginx import Nginx

PASSWORD = "tin-roof-under-rain"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom where everybody logs in."""
    folder = tmp_path_factory.mktemp("passkeys")
    with Fileroom(folder, workers=1, web_workers=1, web_login="always", admin_password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


class Desk:
    """A person's browser, with an authenticator in it, at the server's name: passkeys are never good at an address."""

    def __init__(self, browser: Browser, house: Fileroom) -> None:
        self.root = house.url.replace("127.0.0.1", "localhost")
        self.context: BrowserContext = browser.new_context(base_url=self.root)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.cdp: CDPSession = self.context.new_cdp_session(self.page)
        self.cdp.send("WebAuthn.enable")
        made = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        self.authenticator = str(made["authenticatorId"])

    def log_in(self, login: str, password: str = PASSWORD) -> None:
        self.page.goto("/login")
        self.page.fill("#username", login)
        self.page.fill("#password", password)
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):
            self.page.click("form[action='/login'] button")
        self.page.wait_for_url(lambda url: not url.endswith("/login"))

    def log_in_by_passkey(self) -> None:
        self.page.goto("/login")
        self.page.get_by_role("button", name="Log in with a passkey").click()

    def log_out(self) -> None:
        self.context.clear_cookies()

    def make_passkey(self, name: str) -> None:
        self.page.goto("/account")
        self.page.fill("form[data-passkey=make] input[name=name]", name)
        self.page.get_by_role("button", name="Make a passkey").click()
        expect(self.page.locator(".done, .codes")).to_be_visible()

    def status_of(self, path: str) -> int:
        """Of a request beside the browser with its cookies; they stay as they are."""
        cookies = {str(one["name"]): str(one["value"]) for one in self.context.cookies()}
        return httpx.get(self.root + path, cookies=cookies).status_code

    def credentials(self) -> list[dict[str, object]]:
        """What the authenticator holds, with private keys."""
        found = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        return list(found["credentials"])

    def expect_inside(self, login: str) -> None:
        expect(self.page.locator(".who")).to_contain_text(login)

    def expect_outside(self, why: str) -> None:
        expect(self.page.locator("[role=alert]:visible")).to_contain_text(why)
        assert self.status_of("/account") == 401


@pytest.fixture
def desk(browser: Browser, house: Fileroom) -> Iterator[Desk]:
    made = Desk(browser, house)
    yield made
    made.context.close()
    assert made.troubles == []


@pytest.fixture
def person(house: Fileroom, request: pytest.FixtureRequest) -> str:
    """A login of the test's own."""
    login = re.sub(r"[^a-z]", "", request.node.name.lower())[-30:]
    added = house.command("user", "add", login, "--role", "radiologist", "--password", PASSWORD)
    assert added.returncode == 0, added.stderr
    return login


def test_a_passkey_is_made_used_renamed_and_removed(desk: Desk, person: str, house: Fileroom) -> None:
    desk.log_in(person)
    desk.make_passkey("Telephone")
    codes = desk.page.locator(".codes code").all_inner_texts()
    assert len(codes) == 10  # shown once: the first second factor
    desk.page.goto("/account")
    expect(desk.page.locator(".codes")).to_have_count(0)
    expect(desk.page.get_by_label("Name of the passkey Telephone")).to_have_value("Telephone")

    desk.log_out()
    desk.log_in_by_passkey()  # nobody typed a login, no code is asked for
    desk.expect_inside(person)

    desk.page.goto("/account")
    desk.page.get_by_label("Name of the passkey Telephone").fill("Old telephone")
    desk.page.get_by_role("button", name="Rename").click()
    expect(desk.page.get_by_label("Name of the passkey Old telephone")).to_be_visible()

    desk.page.locator("#passkeys").get_by_role("button", name="Remove").click()
    expect(desk.page.locator("#passkeys")).to_contain_text("You have none yet")
    desk.log_out()
    desk.log_in_by_passkey()
    desk.expect_outside("not known here")
    desk.log_in(person)  # the password alone is enough again
    desk.expect_inside(person)

    trail = house.command("audit", "search", "--user", person, "--json").stdout
    for what in ("The passkey Telephone was added", "is called Old telephone", "The passkey Old telephone was removed"):
        assert what in trail
    assert "passkey Telephone" in trail  # how they logged in


def test_a_passkey_is_the_second_step_after_the_password(desk: Desk, person: str) -> None:
    desk.log_in(person)
    desk.make_passkey("Key")
    code = desk.page.locator(".codes code").first.inner_text()
    desk.log_out()
    desk.log_in(person)
    expect(desk.page).to_have_url(re.compile("/login/code"))
    assert desk.status_of("/account") == 401
    desk.page.get_by_role("button", name="Use a passkey").click()
    desk.expect_inside(person)

    desk.log_out()
    desk.log_in(person)
    desk.page.fill("#code", code)
    desk.page.get_by_role("button", name="Log in").click()
    desk.expect_inside(person)
    desk.log_out()
    desk.log_in(person)
    desk.page.fill("#code", code)
    desk.page.get_by_role("button", name="Log in").click()
    desk.expect_outside("used already")


def test_an_answer_that_was_heard_opens_nothing_again(desk: Desk, person: str) -> None:
    desk.log_in(person)
    desk.make_passkey("Key")
    desk.log_out()
    heard: list[str] = []

    def hear(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/login/passkey"):
            heard.append(request.post_data or "")

    desk.page.on("request", hear)
    desk.log_in_by_passkey()
    desk.expect_inside(person)
    assert len(heard) == 1
    form = {name: values[0] for name, values in parse_qs(heard[0]).items()}
    with httpx.Client(base_url=desk.root) as thief:
        answer = thief.post("/login/passkey", data=form)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_an_answer_given_to_another_site_opens_nothing_here(desk: Desk, person: str, tmp_path: Path) -> None:
    """The other site has the same name and another port, so the browser lets it use the passkey; its origin gives it away."""
    desk.log_in(person)
    desk.make_passkey("Key")
    desk.log_out()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>Another site</title>")
    # It gets a question from Fileroom, as a server in the middle would, and shows it to the person as its own.
    with httpx.Client(base_url=desk.root) as middle:
        asked = middle.post("/login/passkey/ask", data={"step": ""}).json()["publicKey"]
        with Nginx(tmp_path / "nginx", tmp_path / "site", 1) as other:
            desk.page.goto(other.url.replace("127.0.0.1", "localhost") + "/index.html")
            credential = desk.page.evaluate(
                """async (asked) => {
                    const text = atob(asked.challenge.replace(/-/g, "+").replace(/_/g, "/"));
                    const challenge = Uint8Array.from(text, (one) => one.charCodeAt(0));
                    const shown = await navigator.credentials.get({publicKey: {...asked, challenge}});
                    return JSON.stringify(shown.toJSON());
                }""",
                asked,
            )
        answer = middle.post("/login/passkey", data={"credential": credential, "next": "/"})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_a_copy_of_a_passkey_is_noticed_by_its_counter(desk: Desk, person: str) -> None:
    desk.log_in(person)
    desk.make_passkey("Key")
    copied = desk.credentials()[0]
    for _ in range(2):
        desk.log_out()
        desk.log_in_by_passkey()
        desk.expect_inside(person)
    desk.cdp.send("WebAuthn.clearCredentials", {"authenticatorId": desk.authenticator})
    desk.cdp.send("WebAuthn.addCredential", {"authenticatorId": desk.authenticator, "credential": copied})
    desk.log_out()
    desk.log_in_by_passkey()
    desk.expect_outside("not known here")


def test_who_is_not_verified_by_the_device_does_not_come_in(desk: Desk, person: str) -> None:
    desk.log_in(person)
    desk.make_passkey("Key")
    desk.log_out()
    desk.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": desk.authenticator, "isUserVerified": False})
    desk.log_in_by_passkey()
    desk.expect_outside("Nothing was confirmed")
