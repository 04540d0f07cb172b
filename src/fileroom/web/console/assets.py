"""Style sheets and scripts of the console, read once, under an address that changes with their content.

All of them share one folder name made from what is in them, so that scripts can import each other by relative names and
a browser may keep them for ever.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from starlette.requests import Request

from fileroom.core.errors import NotFoundError
from fileroom.web.answers import Answer, accepts_gzip

ASSETS_PATH: Final = "/static/{version}/{name}"
FOREVER: Final = "public, max-age=31536000, immutable"
"""There is nothing of a patient in them."""

CHARTS_FOLDER: Final = Path(sys.prefix) / "share" / "fileroom" / "charts"
"""Where `tools/charts.py` puts the script that draws charts; pages do without where it is not there."""

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_GZIP_WINDOW: Final = 31


@dataclass(frozen=True, slots=True)
class _Asset:
    media_type: str
    plain: bytes
    packed: bytes


def asset_url(name: str) -> str:
    """The address of a file; KeyError for one that is not there, so that a page with a wrong name fails in its test."""
    if name not in _assets():
        raise KeyError(name)
    return f"/static/{_version()}/{name}"


def has_asset(name: str) -> bool:
    """Whether it is there: what is fetched at set-up may not be."""
    return name in _assets()


async def asset_handler(request: Request) -> Answer:
    """The handler of ASSETS_PATH. A page made before an upgrade asks for an older version, and gets what there is now."""
    asset = _assets().get(request.path_params["name"])
    if asset is None:
        raise NotFoundError("There is no such style sheet or script.")
    is_current = request.path_params["version"] == _version()
    headers = {
        "content-type": asset.media_type,
        "cache-control": FOREVER if is_current else "no-cache",
        "vary": "Accept-Encoding",
    }
    if accepts_gzip(request.headers.get("accept-encoding")):
        return Answer(200, {**headers, "content-encoding": "gzip"}, asset.packed)
    return Answer(200, headers, asset.plain)


@functools.cache
def _assets() -> dict[str, _Asset]:
    assets: dict[str, _Asset] = {}
    fetched = CHARTS_FOLDER.iterdir() if CHARTS_FOLDER.is_dir() else ()
    for file in (*(resources.files("fileroom.web.console") / "static").iterdir(), *fetched):
        ending = file.name.rpartition(".")[2]
        if ending in _TYPES:
            plain = file.read_bytes()
            packer = zlib.compressobj(9, wbits=_GZIP_WINDOW)
            assets[file.name] = _Asset(_TYPES[ending], plain, packer.compress(plain) + packer.flush())
    return assets


@functools.cache
def _version() -> str:
    digest = hashlib.sha256()
    for name in sorted(_assets()):
        digest.update(name.encode() + b"\0" + _assets()[name].plain + b"\0")
    return digest.hexdigest()[:12]
