"""/viewer: the files that set-up has prepared, the page and its settings, and what is said where there is no viewer."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from PIL import Image
from starlette.routing import Route, Router

from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConfigurationError
from fileroom.core.settings import Settings
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.guard import Guard
from fileroom.web.viewer import viewer_handlers
from stored_objects import make_file, store_file

BUILD = "0123456789"
SCRIPT = b"console.log('a script long enough to be worth it');" * 50
BROTLI = b"stands for brotli"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A viewer of three files, as set-up would leave it."""
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "app.bundle.aa.js").write_bytes(SCRIPT)
    (folder / "app.bundle.aa.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "app.bundle.aa.js.br").write_bytes(BROTLI)
    (folder / "decoder.wasm").write_bytes(b"\0asm")
    (folder / "assets" / "one.png").write_bytes(b"\x89PNG")
    (folder / "app.bundle.css").write_bytes(b"body{}")
    (folder / "not-listed.txt").write_text("secret")
    sizes = {form: path.stat().st_size for form, path in _forms(folder / "app.bundle.aa.js").items()}
    files = {
        "app.bundle.aa.js": {"type": "text/javascript; charset=utf-8", "sizes": sizes},
        "decoder.wasm": {"type": "application/wasm", "sizes": {"identity": 4}},
        "assets/one.png": {"type": "image/png", "sizes": {"identity": 4}},
        "app.bundle.css": {"type": "text/css; charset=utf-8", "sizes": {"identity": 6}},
    }
    listed = {
        "build": BUILD,
        "version": "1.2.3",
        "scripts": ["app.bundle.aa.js"],
        "styles": ["app.bundle.css"],
        "files": files,
    }
    (folder / "viewer.json").write_text(json.dumps(listed))
    return folder


def _forms(path: Path) -> dict[str, Path]:
    return {"identity": path, "gzip": Path(f"{path}.gz"), "br": Path(f"{path}.br")}


def _handlers(folder: Path, **settings: Any) -> dict[str, Handler]:
    """Those that need no archive: of it only the settings are there."""
    archive = cast(Archive, SimpleNamespace(settings=Settings(viewer_folder=str(folder), **settings)))
    return viewer_handlers(archive, Renderer(archive))


def _client(folder: Path, **settings: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """HTTP to the routes of the viewer alone, behind the guard."""
    return _speaking_to(_guarded(_handlers(folder, **settings)))


def _guarded(handlers: dict[str, Handler]) -> Guard:
    router = Router([Route(path, Endpoint(path, {"GET": handler})) for path, handler in handlers.items()])
    return Guard(router, names=())


@asynccontextmanager
async def _speaking_to(app: Guard) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080") as client:
        yield client


def _config(script: str) -> Any:
    start = script.index("= {") + 2
    return json.JSONDecoder().raw_decode(script, start)[0]


async def test_a_file_comes_in_the_best_form_the_browser_takes(folder: Path) -> None:
    address = f"/viewer/{BUILD}/app.bundle.aa.js"
    async with _client(folder) as client:
        best = await client.send(
            client.build_request("GET", address, headers={"accept-encoding": "gzip, br"}), stream=True
        )
        assert b"".join([piece async for piece in best.aiter_raw()]) == BROTLI
        assert best.headers["content-encoding"] == "br"
        packed = await client.get(address, headers={"accept-encoding": "gzip, br;q=0"})
        assert packed.headers["content-encoding"] == "gzip"
        plain = await client.get(address, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content == SCRIPT
        tags = {answer.headers["etag"] for answer in (best, packed, plain)}
        assert len(tags) == 3, "forms of a file share an entity tag"
        for answer in (best, packed, plain):
            assert answer.headers["vary"] == "Accept-Encoding"
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"].startswith("text/javascript")


async def test_what_the_browser_has_is_not_sent_again(folder: Path) -> None:
    async with _client(folder) as client:
        for address in (f"/viewer/{BUILD}/decoder.wasm", "/viewer/app-config.js"):
            first = await client.get(address)
            again = await client.get(address, headers={"if-none-match": first.headers["etag"]})
            assert (first.status_code, again.status_code) == (200, 304)
            assert again.content == b""


async def test_files_have_their_media_types(folder: Path) -> None:
    async with _client(folder) as client:
        assert (await client.get(f"/viewer/{BUILD}/decoder.wasm")).headers["content-type"] == "application/wasm"
        assert (await client.get(f"/viewer/{BUILD}/assets/one.png")).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "path",
    [
        f"{BUILD}/not-listed.txt",
        f"{BUILD}/viewer.json",
        f"{BUILD}/app.bundle.aa.js.gz",
        f"{BUILD}/../viewer.json",
        f"{BUILD}/%2e%2e/viewer/viewer.json",
        f"{BUILD}/..%2f..%2f..%2f..%2fetc/passwd",
        f"{BUILD}//etc/passwd",
        f"{BUILD}/assets%5c..%5cnot-listed.txt",
        f"{BUILD}/app.bundle.aa.js%00.png",
        "9876543210/app.bundle.aa.js",
    ],
)
async def test_nothing_but_listed_files_is_served(folder: Path, path: str) -> None:
    async with _client(folder) as client:
        answer = await client.get(f"/viewer/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_the_page_names_the_first_files_and_allows_no_other_host(folder: Path) -> None:
    async with _client(folder) as client:
        for address in ("/viewer?StudyInstanceUIDs=1.2.3", "/viewer/", "/viewer/segmentation"):
            answer = await client.get(address)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert f'src="/viewer/{BUILD}/app.bundle.aa.js"' in answer.text
            assert f'href="/viewer/{BUILD}/app.bundle.css"' in answer.text
        policy = answer.headers["content-security-policy"]
        assert answer.headers.get_list("content-security-policy") == [policy]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "'unsafe-inline'" not in rules["script-src"]
    assert not any("http" in rule or "*" in rule for rule in rules.values())


@pytest.mark.parametrize(
    ("address", "study"),
    [
        ("/viewer?StudyInstanceUIDs=1.2.3", "1.2.3"),
        ("/viewer?StudyInstanceUIDs=1.2.3,1.2.4", None),
        ("/viewer?StudyInstanceUIDs=1.2.3&hangingProtocolId=mpr", None),
        ("/viewer?StudyInstanceUIDs=%22%3E%3Cscript%3E", None),
        ("/viewer/segmentation?StudyInstanceUIDs=1.2.3", None),
        ("/viewer", None),
    ],
)
async def test_a_picture_is_shown_where_it_is_known_what_comes_first(
    folder: Path, address: str, study: str | None
) -> None:
    async with _client(folder) as client:
        page = (await client.get(address)).text
    if study is None:
        assert "<img" not in page
    else:
        assert f'href="/studies/{study}#reports"' in page
        assert f'src="/viewer/first-image?study={study}"' in page


async def test_the_page_is_for_those_who_may_see_images(folder: Path) -> None:
    clerk = Access(ActorKind.PERSON, "clerk", frozenset({Permission.STUDY_SEARCH}))
    async with _client(folder) as client:
        with acting_as(clerk):
            assert (await client.get("/viewer?StudyInstanceUIDs=1.2.3")).status_code == 403


async def test_settings_reach_the_viewer(folder: Path, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"showErrorDetails": "dev", "maxNumRequests": {"prefetch": 3}}))
    settings = {
        "viewer_name": "St. </script> Anna",
        "viewer_logo": str(logo),
        "viewer_hanging_protocol": "mpr",
        "viewer_priors": "recent",
        "viewer_config": str(own),
    }
    async with _client(folder, **settings) as client:
        values = _config((await client.get("/viewer/app-config.js")).text)
        page = (await client.get("/viewer")).text
        shown = await client.get("/viewer/logo")
    config = values["config"]
    assert values["brand"] == {"name": "St. </script> Anna", "logo": "/viewer/logo"}
    assert "<title>St. &lt;/script&gt; Anna</title>" in page
    assert shown.headers["content-type"] == "image/svg+xml"
    assert shown.text == logo.read_text()
    assert config["modesConfiguration"]["@ohif/mode-longitudinal"]["hangingProtocol"] == {"$set": "mpr"}
    assert config["customizationService"] == [{"studyBrowser.studyMode": {"$set": "recent"}}]
    assert config["showErrorDetails"] == "dev"
    assert config["maxNumRequests"] == {"interaction": 100, "thumbnail": 5, "prefetch": 3}
    assert config["dataSources"][0]["configuration"]["wadoRoot"] == "/dicom-web"


@pytest.mark.parametrize("content", [None, "not json", "[1]", '{"a": ' + '"' + "x" * (1 << 20) + '"}'])
def test_a_file_of_settings_that_cannot_be_used_is_named(folder: Path, tmp_path: Path, content: str | None) -> None:
    own = tmp_path / "own.json"
    if content is not None:
        own.write_text(content)
    with pytest.raises(ConfigurationError, match=r"FILEROOM_VIEWER_CONFIG: .*own\.json"):
        _handlers(folder, viewer_config=str(own))


@pytest.mark.parametrize("name", ["logo.exe", "missing.png"])
def test_a_logo_that_cannot_be_used_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="FILEROOM_VIEWER_LOGO"):
        _handlers(folder, viewer_logo=str(tmp_path / name))


@pytest.mark.parametrize("state", ["missing", "broken"])
async def test_without_a_viewer_the_page_says_how_to_get_one(folder: Path, tmp_path: Path, state: str) -> None:
    if state == "broken":
        (folder / "viewer.json").write_text("{")
    async with _client(folder if state == "broken" else tmp_path / "nowhere") as client:
        for path in ("/viewer?StudyInstanceUIDs=1.2.3", "/viewer/app-config.js"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "make up" in answer.text
            assert answer.headers["cache-control"] == "no-store"


async def test_the_first_image_is_shown_as_a_picture(archive: Archive, folder: Path) -> None:
    own = replace(archive, settings=Settings(viewer_folder=str(folder)))
    await store_file(archive, make_file())
    async with _speaking_to(_guarded(viewer_handlers(own, Renderer(own)))) as client:
        answer = await client.get("/viewer/first-image?study=1.2.3.1")
        again = await client.get("/viewer/first-image?study=1.2.3.1", headers={"if-none-match": answer.headers["etag"]})
        missing = await client.get("/viewer/first-image?study=1.2.3.99")
        wrong = await client.get("/viewer/first-image?study=../../etc")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (2, 2)
    assert [one.status_code for one in (again, missing, wrong)] == [304, 204, 400]
