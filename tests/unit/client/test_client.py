"""The client: it agrees with the OpenAPI document, asks every operation, tries again, pages on, and tells what went wrong."""

from __future__ import annotations

import datetime as dt
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from fileroom.client import (
    ApiError,
    BadRequestError,
    ChangedMeanwhileError,
    Fileroom,
    NotFoundError,
    UnavailableError,
    UnreachableError,
    connection,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    """tools/client.py as a module; tools are programs, not a package."""
    spec = importlib.util.spec_from_file_location("client_tool", ROOT / "tools" / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time here."""
    taken: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", taken.append)
    return taken


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> Fileroom:
    return Fileroom("https://pacs.example", "fr_secret", transport=httpx.MockTransport(answer))


def test_models_and_methods_are_what_the_document_says(tool: ModuleType) -> None:
    stale = [name for name, text in tool.made_files().items() if (tool.FOLDER / name).read_text("utf-8") != text]
    assert not stale, f"run 'python tools/client.py' and commit what it writes: {', '.join(stale)}"


def test_every_operation_is_reached_by_its_method_with_all_it_takes(tool: ModuleType) -> None:
    document = tool.api_document()
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"items": [], "next": None})

    count = 0
    with answering(answer) as fileroom:
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                resource, _, name = operation["operationId"].partition(".")
                function = getattr(getattr(fileroom, resource), name)
                given = {one: _some(parameter) for one, parameter in inspect.signature(function).parameters.items()}
                _call(function, given)
                count += 1
                request = asked[-1]
                assert request.method == method.upper()
                assert _pattern(path).fullmatch(request.url.raw_path.decode().partition("?")[0]), operation[
                    "operationId"
                ]
                assert request.headers["authorization"] == "Bearer fr_secret"
                _assert_all_is_sent(document, operation, request)
    assert count == len({operation["operationId"] for ms in document["paths"].values() for operation in ms.values()})


def _call(function: Callable[..., Any], given: dict[str, Any]) -> None:
    positional = [
        given.pop(name)
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    try:
        found = function(*positional, **given)
        if isinstance(found, Iterator):
            list(found)
    except (TypeError, KeyError, AttributeError):
        pass  # the answer of this test fits few models; what was asked is what matters


def _some(parameter: inspect.Parameter) -> Any:
    kind = str(parameter.annotation)
    if kind.startswith("int"):
        return 7
    if kind.startswith("bool"):
        return True
    if "dt.datetime" in kind:
        return dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
    if kind.startswith("Sequence"):
        return ["a"]
    return {"a": 1} if kind.startswith(("Mapping", "Rows", "Checkpoint")) else "a b/c"


def _pattern(path: str) -> Any:
    import re

    return re.compile("/".join("[^/]+" if part.startswith("{") else part for part in path.split("/")))


def _assert_all_is_sent(document: dict[str, Any], operation: dict[str, Any], request: httpx.Request) -> None:
    parameters = operation.get("parameters", ())
    query = {one["name"] for one in parameters if one["in"] == "query"} - {"cursor"}
    assert set(request.url.params.keys()) == query
    assert ("if-match" in request.headers) == any(one["in"] == "header" for one in parameters)
    if "requestBody" in operation:
        name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert json.loads(request.content).keys() == document["components"]["schemas"][name]["properties"].keys()


def test_pages_are_followed_only_as_far_as_they_are_needed() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        begin = int(request.url.params.get("cursor", "0"))
        items = [caller(begin + number) for number in range(2)]
        return httpx.Response(200, json={"items": items, "next": f"/api/v1/tokens?limit=500&cursor={begin + 2}"})

    with answering(answer) as fileroom:
        names = [token.name for token in fileroom.tokens.all(limit=5)]
    assert names == ["t0", "t1", "t2", "t3", "t4"]
    assert asked == ["limit=5", "limit=500&cursor=2", "limit=500&cursor=4"]


def caller(number: int) -> dict[str, Any]:
    moment = "2026-11-22T08:00:00Z"
    more = {"login": None, "role": "auditor", "permissions": None, "created_by": "ada", "expires_at": None}
    return {"id": number, "name": f"t{number}", "created_at": moment, "last_used_at": moment, "unknown": 1, **more}


def test_times_are_moments_and_what_is_new_is_passed_over() -> None:
    with answering(lambda _: httpx.Response(200, json={"items": [caller(1)], "next": None})) as fileroom:
        (token,) = fileroom.tokens.all()
    assert token.created_at == dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
    assert token.expires_at is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequestError), (404, NotFoundError), (412, ChangedMeanwhileError), (500, UnavailableError)],
)
def test_a_refusal_carries_the_words_of_the_problem(status: int, kind: type[ApiError]) -> None:
    problem = {
        "title": "No",
        "status": status,
        "detail": "CT1 is on holiday.",
        "errors": [{"where": "body.x", "why": "y"}],
    }
    with answering(lambda _: httpx.Response(status, json=problem)) as fileroom, pytest.raises(kind) as caught:
        fileroom.nodes.remove("CT1")
    assert str(caught.value) == "CT1 is on holiday."
    assert caught.value.status == status
    assert caught.value.mistakes[0].where == "body.x"


def test_an_answer_that_is_no_problem_document_is_told_too() -> None:
    with answering(lambda _: httpx.Response(502, text="<html>")) as fileroom, pytest.raises(UnavailableError) as caught:
        fileroom.nodes.remove("CT1")
    assert str(caught.value) == "Bad Gateway"


def test_what_changes_nothing_is_tried_again(pauses: list[float]) -> None:
    answers = [httpx.Response(503, headers={"retry-after": "5"}), httpx.ConnectError("refused"), httpx.Response(503)]

    def answer(request: httpx.Request) -> httpx.Response:
        if not answers:
            return httpx.Response(200, json={"pem": "-----"})
        now = answers.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    with answering(answer) as fileroom:
        assert fileroom.certificates.pem("pacs").pem == "-----"
    assert pauses == [5.0, 2.0, 4.0]


def test_what_changes_something_is_tried_once(pauses: list[float]) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadTimeout("slow")

    with answering(answer) as fileroom, pytest.raises(UnreachableError, match=r"pacs\.example did not answer"):
        fileroom.nodes.remove("CT1")
    assert len(asked) == 1
    assert pauses == []


def test_a_server_that_is_not_there_is_told_after_some_tries(pauses: list[float]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with answering(answer) as fileroom, pytest.raises(UnreachableError):
        fileroom.system.get()
    assert len(pauses) == connection.TRIES_MAX - 1


def test_a_study_is_downloaded_into_a_new_file(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/dicom-web/studies/1.2.3"
        assert request.headers["accept"] == "application/zip"
        return httpx.Response(200, content=b"PK" + b"x" * 1000)

    target = tmp_path / "study.zip"
    with answering(answer) as fileroom:
        assert fileroom.download("1.2.3", target) == 1002
        with pytest.raises(FileExistsError):
            fileroom.download("1.2.3", target)
    assert target.read_bytes()[:2] == b"PK"
