"""Every page of the console in a real browser: accessible by axe-core's rules, light in weight, still while it loads.

A new page is looked at here by itself: the list is made from the application's routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Request, StorageState

from acceptance.programs.browser import CHROMIUM, chromium
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.mllp import Sender
from acceptance.programs.processes import accepts_connections, wait_until
from fileroom.demo.studies import write_demo_studies
from route_permissions import ROUTES

PAGE_BYTES_MAX: Final = 100_000
"""What a page brings over the network without pictures of studies: the issue's 100 KB."""
LAYOUT_SHIFT_MAX: Final = 0.01
PASSWORD: Final = "correct horse battery staple"
TEACHES_ITSELF: Final = ("/help", "/login", "/api/docs")
GUIDE_CHARS_MIN: Final = 40
QUESTIONS: Final = {
    "/studies/send": "?uid={study}",
    "/admin/nodes/node": "?name=CT1",
    "/routing/projects/report": "?number={number}",
    "/worklist/order": "?number={number}",
    "/worklist/workitem": "?uid={workitem}",
    "/hl7/message": "?number={number}",
    "/reports/new": "?study={study}",
    "/reports/dictate": "?study={study}",
    "/open": "?study={study}",
    "/worklist/patients/{patient}/merge": "?other={other_patient}",
    "/worklist/patients/{patient}/unmerge": "?merge={number}",
}
"""What some pages are asked for."""
ORDER: Final = b"\r".join(
    (
        b"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||ORM^O01|M1|P|2.3.1",
        b"PID|1||P1^^^HOSP^MR||Doe^Jane||19700203|F",
        b"ORC|NW|PL1|F1||||^^^20261123080000^^R",
        b"OBR|1|PL1|F1|CTHEAD^CT head^L||||||||||||||A1||||||CT",
        b"",
    )
)
OTHERS: Final = (
    b"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101501||ADT^A28|M2|P|2.5\rPID|1||P2^^^HOSP^MR||Doe^Jane||19700203|F\r",
    b"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101502||ADT^A40|M3|P|2.5\rPID|1||P2^^^HOSP^MR||Doe^Jane||19700203|F\rMRG|P3^^^HOSP\r",
)
"""Another patient, and one that became part of that one: for the pages of merges."""
_GUIDE: Final = """(() => {
  const found = document.querySelector('#help .guide')
    ?? document.querySelector('main h1 ~ p.quiet, main .heading ~ p.quiet, main .trail-head ~ p.quiet');
  return found?.textContent.trim() ?? '';
})()"""
PARAMETERS: Final[dict[str, Callable[[Fileroom], str]]] = {
    "study": lambda room: str(room.rows("SELECT study_instance_uid FROM study")[0][0]),
    "name": lambda _room: "people",
    "number": lambda _room: "1",
    "patient": lambda room: _patient(room, "P1"),
    "other_patient": lambda room: _patient(room, "P2"),
    "resource": lambda _room: "nodes",
    "workitem": lambda _room: "1.2.3.4.5",
}
NOT_PAGES: Final = (
    "/dicom-web",
    "/fhir/",
    "/wado",
    "/viewer",
    "/edge/",
    "/events/",
    "/static/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1",
    "/api/openapi",
    "/logo",
    "/ws/subscribers",
    "/login/openid",  # leads to the provider and back
)
"""Addresses that answer programs, or pieces of pages. The viewer is not ours to change."""
NOT_A_WHOLE_PAGE: Final = (
    *("/studies/rows", "/studies/download", "/look", "/attributes", "/document", "/help/images", "/system/figures"),
    *("/system/now", "/pem", "/export", "/settings/file", "/admin/audit/check", "report.csv", "table.csv"),
    *("/pdf", "/sr", "/dictate/file", "/dictation/context"),
)
_WATCH: Final = """
window.shifted = 0;
new PerformanceObserver(list => { for (const one of list.getEntries()) window.shifted += one.value; })
  .observe({type: 'layout-shift', buffered: true});
"""


def _patient(room: Fileroom, number: str) -> str:
    return str(room.rows(f"SELECT patient FROM patient_identifier WHERE value = '{number}'")[0][0])


def _draft(room: Fileroom) -> str:
    """A report that the administrator writes."""
    return str(room.rows("SELECT id FROM report WHERE source = 'console'")[0][0])


def addresses() -> list[str]:
    """Addresses of pages, as their routes say them."""
    asked = [route.removeprefix("GET ") for route in ROUTES if route.startswith("GET ")]
    return [
        path for path in asked if not path.startswith(NOT_PAGES) and not any(part in path for part in NOT_A_WHOLE_PAGE)
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all."""
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium (Debian package chromium)")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom with one demo study, in which everybody logs in."""
    folder = tmp_path_factory.mktemp("pages")
    write_demo_studies(folder / "files", only=["ct-chest"])
    settings = {"web_login": "always", "admin_password": PASSWORD}
    with Fileroom(folder / "room", workers=1, web_workers=1, hl7_workers=1, **settings) as running:
        assert running.command("import", folder / "files").returncode == 0
        node = ("CT1", "--aet", "FILEROOM", "--host", "127.0.0.1", "--port", str(running.dicom_port))
        assert running.command("node", "add", *node).returncode == 0
        assert running.command("node", "echo", "CT1").returncode == 0
        assert running.command("destination", "add", "people", "--node", "CT1").returncode == 0
        study = PARAMETERS["study"](running)
        assert running.command("deliveries", "send", study, "--to", "people").returncode == 0
        wait_until(lambda: accepts_connections(running.hl7_port), 30, "the HL7 port", running.log_tail)
        with Sender(running.hl7_port) as ris:
            for message in (ORDER, *OTHERS):
                assert b"MSA|AA" in ris.send(message)
        running.execute(
            """WITH begun AS (INSERT INTO report (study_instance_uid, source, title, version, created_by, changed_by)
                   SELECT study_instance_uid, 'console', 'CT', 1, 'admin', 'admin' FROM study RETURNING id)
               INSERT INTO report_version (report, version, state, sections, made_by)
               SELECT id, 1, 'draft', '[{"heading": "Findings", "text": "No nodule."}]', 'admin' FROM begun"""
        )
        assert running.command("deid", "project", "add", "trial").returncode == 0
        running.execute(
            """INSERT INTO deid_report (project_id, project_version, destination, study_instance_uid)
               SELECT id, 1, 'people', '2.25.1' FROM named_entry WHERE section = 'projects'"""
        )
        running.execute(
            """INSERT INTO workitem (sop_instance_uid, state, label, start_moment, start_day, created_by, attributes)
               VALUES ('1.2.3.4.5', 'SCHEDULED', 'Segment the liver', '20261123090000', '20261123', 'ct',
                   '{"00741204": {"vr": "LO", "Value": ["Segment the liver"]}}')"""
        )
        yield running


@pytest.fixture(scope="module")
def session(browser: Browser, room: Fileroom) -> StorageState:
    """The cookies of an administrator who has logged in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{room.url}/login")
    page.fill("#username", "admin")
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.wait_for_url(f"{room.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
@pytest.mark.parametrize("path", addresses())
def test_a_page_keeps_the_rules(
    browser: Browser, room: Fileroom, session: StorageState, path: str, theme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 850},
        color_scheme=theme,  # type: ignore[arg-type]
        storage_state=None if path.startswith("/login") else session,
    )
    page = context.new_page()
    page.add_init_script(_WATCH)
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    weights: list[int] = []
    page.on("requestfinished", lambda one: weights.append(_weight(one)))
    try:
        address = _plain(path + QUESTIONS.get(path, ""))
        answer = page.goto(room.url + address.format(**named_in(address, room)))
        assert answer is not None
        assert answer.status in (200, 303)
        page.wait_for_timeout(300)  # what the page's script does at its start is looked at too
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert not errors
        assert sum(weights) < PAGE_BYTES_MAX
        assert page.evaluate("window.shifted") < LAYOUT_SHIFT_MAX
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(page.evaluate(_GUIDE)) > GUIDE_CHARS_MIN or path.startswith(TEACHES_ITSELF), (
            "tell what the page is for"
        )
    finally:
        context.close()


def named_in(path: str, room: Fileroom) -> dict[str, str]:
    """Values for the parameters of an address; a new parameter needs a line here."""
    names = re.findall(r"{(\w+)", path)
    own = {"number": _draft} if path.startswith("/reports/") else {}
    return {name: (own.get(name) or PARAMETERS[name])(room) for name in names}


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


def _weight(request: Request) -> int:
    """Bytes over the network; pictures of studies are as large as they must be."""
    return 0 if "/rendered" in request.url or "/thumbnail" in request.url else int(request.sizes()["responseBodySize"])
