"""Objects in a bucket, against moto's S3: the contract, large objects, keys, and credentials that are not the archive's."""

from __future__ import annotations

import io
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store
from pydicom import dcmread

from fileroom.core.errors import InvalidRequestError, PeerRefusedError
from fileroom.core.limits import MIB
from fileroom.routing import bucket_destination
from fileroom.routing.bucket_destination import BUCKET
from fileroom.routing.contract import DestinationContract, sample_objects
from fileroom.routing.destination_kind import OutcomeKind


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    moto = pytest.importorskip("moto.server", reason="moto is not installed, so there is no S3 to test against")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class TestBucket(DestinationContract):
    kind = BUCKET

    @pytest.fixture
    def target(self, s3_server: str) -> Mapping[str, Any]:
        return bucket_at(s3_server)

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        found = sorted(objects_in(target), key=lambda one: one["last_modified"])
        uids = [str(dcmread(io.BytesIO(content(target, one["path"]))).SOPInstanceUID) for one in found]
        return sorted(uids)  # Times have whole seconds there.

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "endpoint": "http://127.0.0.1:9"}


def bucket_at(server: str) -> Mapping[str, Any]:
    name = f"routing-{secrets.token_hex(4)}"
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT"), timeout=5).close()
    return {
        "bucket": f"s3://{name}/from/fileroom",
        "endpoint": server,
        "access_key": "testing",
        "secret_key": "a secret key of the bucket",
        "plain_http": True,
    }


def direct(target: Mapping[str, Any]) -> S3Store:
    config: Any = {
        "endpoint": target["endpoint"],
        "access_key_id": "testing",
        "secret_access_key": "x",
        "region": "us-east-1",
    }
    return S3Store(target["bucket"].split("/")[2], config=config, client_options={"allow_http": True})


def objects_in(target: Mapping[str, Any]) -> list[Any]:
    return [one for page in obstore.list(direct(target)) for one in page]


def content(target: Mapping[str, Any], key: str) -> bytes:
    return bytes(obstore.get(direct(target), key).bytes())


async def send(target: Mapping[str, Any], tmp_path: Path, objects: list[Any]) -> list[OutcomeKind]:
    return (await TestBucket().send(target, tmp_path, objects)).kinds


async def test_keys_are_made_of_attributes_below_the_prefix(s3_server: str, tmp_path: Path) -> None:
    target = {**bucket_at(s3_server), "pattern": "{Modality}/{PatientID}/{SOPInstanceUID}"}
    objects = sample_objects(1, PatientID="../../x/..")
    assert await send(target, tmp_path, objects) == [OutcomeKind.TAKEN]
    (found,) = objects_in(target)
    assert found["path"] == f"from/fileroom/CT/_.._x_/{objects[0].sop_instance_uid}" or found["path"].startswith(
        "from/fileroom/CT/"
    )
    assert content(target, found["path"]) == objects[0].data


async def test_a_large_object_goes_in_parts(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_destination, "WHOLE_BYTES_MAX", 5 * MIB)
    target, one = bucket_at(s3_server), sample_objects(1)[0]
    one = type(one)(one.delivery_id, one.data + bytes(13 * MIB), dataset=one.dataset)
    assert await send(target, tmp_path, [one]) == [OutcomeKind.TAKEN]
    (found,) = objects_in(target)
    assert content(target, found["path"]) == one.data


async def test_the_archives_own_store_is_not_written_to(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "archive")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-archive")
    target = bucket_at(s3_server)
    assert await send(target, tmp_path, sample_objects(1)) == [OutcomeKind.TAKEN]


async def test_a_bucket_that_is_not_there_says_so(s3_server: str, tmp_path: Path) -> None:
    target = {**bucket_at(s3_server), "bucket": "s3://no-such-bucket"}
    with pytest.raises(PeerRefusedError, match="no-such-bucket") as raised:
        await send(target, tmp_path, sample_objects(1))
    assert target["secret_key"] not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": "ftp://x/y"},
        {"bucket": "s3://"},
        {"bucket": "s3://bucket/../other"},
        {"secret_key": ""},
        {"plain_http": False},
        {"region": "EU; x"},
        {"endpoint": "file:///etc"},
        {"pattern": "{PatientID}"},
    ],
)
def test_what_cannot_work_is_refused(wrong: Mapping[str, Any]) -> None:
    good = {
        "bucket": "s3://b1b/x",
        "endpoint": "http://127.0.0.1:9",
        "access_key": "a",
        "secret_key": "b",
        "plain_http": True,
    }
    BUCKET.check(good)
    with pytest.raises(InvalidRequestError):
        BUCKET.check({**good, **wrong})
