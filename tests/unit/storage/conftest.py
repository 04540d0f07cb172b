"""The stores that must all keep the same contract."""

from __future__ import annotations

import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileroom.storage.cloud import CloudStore
from fileroom.storage.local import LocalStore
from fileroom.storage.store import ObjectStore

BUCKET = "fileroom-tests"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server that speaks S3, with an empty bucket."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed, so there is no S3 to test against")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        urllib.request.urlopen(
            urllib.request.Request(f"http://{host}:{port}/{BUCKET}", method="PUT"), timeout=5
        ).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty store: a folder, obstore's own memory, a bucket below a prefix."""
    if request.param == "local":
        yield LocalStore(tmp_path / "store")
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
    elif request.param == "memory":
        yield CloudStore("memory:///")
    else:
        endpoint: str = request.getfixturevalue("s3_endpoint")
        monkeypatch.setenv("AWS_ENDPOINT", endpoint)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield CloudStore(f"s3://{BUCKET}/{secrets.token_hex(4)}")
