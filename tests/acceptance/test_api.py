"""The administration API under schemathesis, which makes thousands of requests from the OpenAPI document, and the client.

Once as an administrator: every answer is one that the document declares, with a body that fits, and nothing breaks. Once as
somebody who may do next to nothing: nothing but refusals.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acceptance.conftest import SeriesFactory
from acceptance.programs.fileroom import Fileroom
from fileroom.client import Fileroom as Client
from fileroom.client import NotAllowedError, NotFoundError
from fileroom.demo.studies import write_demo_studies

ROOT = Path(__file__).parents[2]

CONFIGURATION = """
[checks]
# 400 is for what contradicts the document; 422 for values that a service refuses in words.
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422"]

[phases.coverage]
unexpected-methods = ["PATCH"]

[[operations]]
# Its fields are those of nodes.add, whose bounds are gone through.
include-operation-id = "nodes.change"
phases.coverage.enabled = false

[[operations]]
# Sections by the dozen with texts of any length: more than can be made up, so something else is sent in their place.
include-operation-id = ["reports.save", "report_templates.save"]
phases.coverage.enabled = false

[[operations]]
# It would end the token that the test itself asks with.
include-operation-id = "tokens.revoke"
enabled = false
"""
EXAMPLES = 1
"""Of each operation, besides those of the coverage phase, which go through every bound of every parameter. More by hand."""
SEED = 20261122
TIMEOUT_S = 480.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom of its own, as everything in it is changed; everybody logs in."""
    folder = tmp_path_factory.mktemp("api")
    with Fileroom(folder, workers=1, web_workers=1, web_login="always") as running:
        yield running


def token(house: Fileroom, name: str, role: str, *more: str) -> str:
    made = house.command("token", "create", "--name", name, "--role", role, *more)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_the_examples_of_the_document_work(house: Fileroom, tmp_path: Path) -> None:
    """First of all, as it makes a node that is not there yet."""
    write_demo_studies(tmp_path / "demo", only=["ct-chest"])
    imported = house.command("import", tmp_path / "demo")
    assert imported.returncode == 0, imported.stderr
    text = (ROOT / "docs" / "api.md").read_text("utf-8").replace("http://127.0.0.1:8080", house.url)
    environment = os.environ | {"TOKEN": token(house, "examples", "administrator")}
    blocks = {kind: "\n".join(re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)) for kind in ("sh", "python")}
    ran = {
        "sh": ["bash", "-e", "-u", "-o", "pipefail", "-c", blocks["sh"]],
        "python": [sys.executable, "-c", blocks["python"]],
    }
    said = {}
    for kind, command in ran.items():
        assert blocks[kind]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr
        said[kind] = result.stdout
    assert '"permissions"' in said["sh"]
    assert '"port":11104' in said["sh"]
    assert "FR-100127" in said["sh"]
    assert json.loads((tmp_path / "settings.json").read_text())["document"]["settings"] == {}
    assert "There is no node named CT99" in said["python"]
    assert "Somebody else has changed this meanwhile" in said["python"]
    assert "('ledger_days', None, 30)" in said["python"]
    assert (tmp_path / "study.zip").read_bytes()[:2] == b"PK"


def schemathesis(house: Fileroom, folder: Path, secret: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    program = Path(sys.executable).parent / "schemathesis"
    command = [program, "--config-file", "schemathesis.toml", "run", f"{house.url}/api/openapi.json"]
    command += ["-H", f"Authorization: Bearer {secret}", "--seed", str(SEED), "--no-color", "--continue-on-failure"]
    return subprocess.run(
        [*map(str, command), *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_every_answer_is_as_the_document_says(house: Fileroom, tmp_path: Path, ct_series: SeriesFactory) -> None:
    imported = house.command("import", *ct_series(2))
    assert imported.returncode == 0, imported.stderr
    secret = token(house, "everything", "administrator")
    ran = schemathesis(
        house,
        tmp_path,
        secret,
        *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES)),
        # It shows wrong credentials to each operation, which is answered 429 after the fortieth; the next test does it.
        *("--exclude-checks", "ignored_auth"),
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert " passed" in ran.stdout
    assert "request_failed" not in house.log_text()


def test_nobody_is_let_in_anywhere(house: Fileroom) -> None:
    secret = token(house, "reader of the document", "auditor")
    with httpx.Client(base_url=house.url, timeout=30) as client:
        document = client.get("/api/openapi.json", headers={"authorization": f"Bearer {secret}"}).json()
        statuses = [
            client.request(method, path.replace("{", "").replace("}", "")).status_code
            for path, methods in document["paths"].items()
            for method in methods
        ]
    assert len(statuses) > 80
    assert set(statuses) == {401}


def test_who_may_do_nothing_is_refused_everywhere(house: Fileroom, tmp_path: Path) -> None:
    secret = token(house, "nothing", "technologist", "--permission", "study.store")
    report = tmp_path / "requests.har"
    ran = schemathesis(
        house,
        tmp_path,
        secret,
        *("--checks", "not_a_server_error", "--phases", "examples,fuzzing", "--max-examples", "1"),
        *("--exclude-operation-id", "me.get", "--report", "har", "--report-har-path", str(report)),
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
    entries = json.loads(report.read_text())["log"]["entries"]
    statuses = Counter(entry["response"]["status"] for entry in entries)
    assert statuses.keys() <= {403, 404}, statuses
    assert statuses[403] > 50


def test_the_client_works_as_its_owner_may(house: Fileroom) -> None:
    with Client(house.url, token(house, "script", "administrator")) as fileroom:
        node = fileroom.nodes.add(name="ARCHIVE2", aet="ARCHIVE2", host="127.0.0.1", port=9)
        echo = fileroom.nodes.echo("ARCHIVE2")
        assert not echo.answered
        assert "ARCHIVE2" in [one.name for one in fileroom.nodes.all()]
        fileroom.nodes.change("ARCHIVE2", comment="moved", if_match=node.etag)
        fileroom.nodes.remove("ARCHIVE2")
        with pytest.raises(NotFoundError):
            fileroom.nodes.get("ARCHIVE2")
        assert fileroom.audit.verify().whole
    with Client(house.url, token(house, "reader", "researcher")) as fileroom, pytest.raises(NotAllowedError):
        list(fileroom.accounts.all())
