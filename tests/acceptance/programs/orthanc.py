"""Orthanc (Debian packages orthanc, orthanc-dicomweb) as a peer, configured in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx

from acceptance.programs.processes import LOOPBACK, Server, free_ports

DICOMWEB_PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
WORKLISTS_PLUGIN: Final = DICOMWEB_PLUGIN.with_name("libModalityWorklists.so")
REQUEST_TIMEOUT_S: Final = 300.0


def orthanc_program() -> str | None:
    """Where Orthanc is; Debian keeps it among the programs of the administrator."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


class Orthanc:
    """One Orthanc. A context manager. `rest` speaks to its REST interface.

    `nodes`: AE titles and ports of DICOM peers on this machine. `dicomweb_servers`: names and addresses for its
    DICOMweb client.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: Mapping[str, int] | None = None,
        dicomweb_servers: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        lua: str = "",
        worklists: Path | None = None,
    ) -> None:
        """`lua`: a script that it runs. `worklists`: a folder of entries that its plugin answers from."""
        program = orthanc_program()
        assert program is not None, "Orthanc is not installed"
        self.aet = "ORTHANC"
        self.port, self.http_port = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self.http_port}"
        self.rest = httpx.Client(base_url=self.url, timeout=REQUEST_TIMEOUT_S)
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "orthanc.json"
        made = self._configuration(folder, nodes or {}, dicomweb_servers or {})
        if lua:
            script = folder / "script.lua"
            script.write_text(lua)
            made["LuaScripts"] = [str(script)]
        if worklists is not None:
            made["Plugins"] = [str(WORKLISTS_PLUGIN)]
            made["DicomAlwaysAllowFindWorklist"] = True
            made["Worklists"] = {"Enable": True, "Database": str(worklists), "LimitAnswers": 0}
        configuration.write_text(json.dumps(made, indent=1))
        self._server = Server([program, configuration], folder / "orthanc.log", environment)

    def __enter__(self) -> Orthanc:
        self._server.start(self._is_ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest.close()
        self._server.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._server.pid

    @property
    def dicomweb(self) -> str:
        """Where its DICOMweb begins."""
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> Any:
        """The JSON of a resource."""
        return self.rest.get(path).raise_for_status().json()

    def post(self, path: str, body: object) -> Any:
        """Ask for work and wait for it."""
        return self.rest.post(path, json=body).raise_for_status().json()

    def upload(self, paths: list[Path]) -> list[str]:
        """Give it files; its identifiers of the instances."""
        return [
            self.rest.post("/instances", content=path.read_bytes()).raise_for_status().json()["ID"] for path in paths
        ]

    def _is_ready(self) -> bool:
        try:
            return self.rest.get("/system").status_code == 200
        except httpx.TransportError:
            return False

    def _configuration(self, folder: Path, nodes: Mapping[str, int], servers: Mapping[str, str]) -> dict[str, object]:
        plugins = [str(DICOMWEB_PLUGIN)] if DICOMWEB_PLUGIN.exists() else []
        return {
            "Name": "peer",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": self.aet,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "HttpBindAddresses": [LOOPBACK],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,
            "StorageCompression": False,
            "StableAge": 2,
            "OverwriteInstances": True,
            "ConcurrentJobs": 4,
            "DicomModalities": {aet.lower(): [aet, LOOPBACK, port] for aet, port in nodes.items()},
            "Plugins": plugins,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "EnableWado": True,
                "Servers": {name: {"Url": url, "HasDelete": False} for name, url in servers.items()},
            },
        }
