"""The OpenAPI document and our own pages of it: complete, from this server alone, and made only when they are asked for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import httpx

from fileroom.core.access import Permission

WITHOUT_FASTAPI = """
import sys
import fileroom.web.app, fileroom.client
assert "fastapi" not in sys.modules, "the API is loaded before somebody asks for it"
"""


def test_neither_the_web_worker_nor_the_client_loads_fastapi() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_FASTAPI], check=True)


async def test_the_document_names_permission_errors_and_examples(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    known = {*Permission, "none", "own account", "study.break-glass, as a person"}
    names = set()
    for path, methods in document["paths"].items():
        assert path.startswith("/api/v1/")
        for method, operation in methods.items():
            names.add(operation["operationId"])
            assert operation["x-permission"] in known
            assert operation["summary"]
            assert {"400", "401", "403", "404", "422"} <= operation["responses"].keys(), (method, path)
    assert len(names) > 60
    texts = str(document)
    assert "HTTPValidationError" not in texts
    assert not [name for name in document["components"]["schemas"] if name.startswith("Shown")]
    again = await client.get("/api/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_every_operation_stands_on_a_page_with_a_line_for_the_terminal(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/openapi.json")).json()
    contents = (await client.get("/api/docs")).text
    for tag in document["tags"]:
        page = await client.get(f"/api/docs/{tag['name']}")
        assert page.status_code == 200
        assert f'href="/api/docs/{tag["name"]}"' in contents
        lines = re.findall(r'<pre class="terminal"[^>]*>(curl.*?)</pre>', page.text, re.DOTALL)
        operations = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        ]
        assert len(lines) == len(operations)
        for line, (method, path, operation) in zip(lines, operations, strict=True):
            words = shlex.split(line.replace("&#34;", '"').replace("&#39;", "'").replace("&amp;", "&"))
            assert words[0] == "curl"
            assert method == "get" or words[words.index("-X") + 1] == method.upper()
            assert f'id="{operation["operationId"]}"' in page.text
            assert f"<code>{path}</code>" in page.text
    assert (await client.get("/api/docs/nothing")).status_code == 404


async def test_the_pages_load_nothing_from_elsewhere_and_run_no_script_of_their_own(client: httpx.AsyncClient) -> None:
    for path in ("/api/docs", "/api/docs/nodes"):
        page = await client.get(path)
        policy = page.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
        assert addresses
        assert not [address for address in addresses if address.startswith(("http:", "https:", "//"))]
        assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
        assert len(page.content) < 100_000
