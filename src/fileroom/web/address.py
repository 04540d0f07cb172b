"""What a request's address says: the DICOMweb root as the client knows it, and the UIDs of its path."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from starlette.requests import Request

from fileroom.core.identifiers import UID

DICOMWEB_PATH: Final = "/dicom-web"
DICOMWEB_ROOT: Final = "fileroom.dicomweb_root"
"""Where a request's scope tells the path of the root that it came by, when that is another one."""
_USUAL_PORTS: Final = {"http": ":80", "https": ":443"}
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def dicomweb_root(request: Request) -> str:
    """The root without its last slash, under the name that the client used (checked by `web.guard`)."""
    scope = request.scope
    host = request.headers.get("host", "localhost")
    if host in _LOCAL_HOSTS and scope.get("server"):
        # Some clients (dicomweb-client) leave out the port, although it is not that of the scheme.
        host = f"{host}:{scope['server'][1]}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}{scope.get(DICOMWEB_ROOT, DICOMWEB_PATH)}"


def own_origin(request: Request) -> str:
    """Scheme, name and port of this server as browsers write them (RFC 6454 6.1): without the port of the scheme."""
    scheme, host = request.scope["scheme"], request.headers.get("host", "localhost").lower()
    return f"{scheme}://{host.removesuffix(_USUAL_PORTS.get(scheme, ''))}"


def client_address(request: Request) -> str:
    """Where a request came from; through a trusted proxy, where the proxy had it from (`web.forwarded`)."""
    return request.client.host if request.client else ""


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def listens_on_loopback_only(host: str) -> bool:
    """Whether a port at this host name or address serves nobody but this machine."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(map(is_loopback, found))


def path_uid(request: Request, name: str) -> UID:
    """A UID of the path. Raises InvalidRequestError."""
    return UID(request.path_params[name])


def optional_path_uid(request: Request, name: str) -> UID | None:
    """The same where the path may lack it."""
    return UID(request.path_params[name]) if name in request.path_params else None
