"""`Fileroom`: one server, with every resource of its API as an attribute."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from fileroom.client.connection import Connection, segment
from fileroom.client.resources import Resources

TIMEOUT_S: Final = 60.0
"""For an answer: as long as the server lets a search take."""
CONNECT_TIMEOUT_S: Final = 10.0


class Fileroom(Resources):
    """One server, asked by whoever has the token. Use it in a `with` block, or `close` it.

    `verify` is False, or an `ssl.SSLContext`, for a server whose certificate this machine does not know. Every method
    raises `ApiError`, most often one of its kinds.
    """

    def __init__(
        self,
        address: str,
        token: str,
        *,
        timeout_s: float = TIMEOUT_S,
        verify: bool | ssl.SSLContext = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=address.rstrip("/"),
            headers={"authorization": f"Bearer {token}", "accept": "application/json"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            verify=verify,
            transport=transport,
        )
        super().__init__(Connection(self._http))

    def download(self, study: str, target: str | Path) -> int:
        """Write a study's objects to a new ZIP file, by DICOMweb; returns its size in bytes. Needs `study.export`.

        Raises ApiError, FileExistsError.
        """
        address = f"/dicom-web/studies/{segment(study)}"
        response = self._connection.send(
            self._http.build_request("GET", address, headers={"accept": "application/zip"}), stream=True
        )
        try:
            with Path(target).open("xb") as file:
                for piece in response.iter_bytes():
                    file.write(piece)
                return file.tell()
        finally:
            response.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
