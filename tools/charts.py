"""Set up the dashboard's charts: fetch uPlot's published build with npm, check it, and lay the two files down that are served.

    tools/charts.py FOLDER

Nothing of uPlot is in this repository. FOLDER is made once; when it holds this version, nothing happens. Where the package
cannot be had, a message says so, and the dashboard shows the pictures that the server draws; the next set-up tries again.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from viewer import Node, SetUpError, find_node, replace, run

PACKAGE: Final = "uplot"
VERSION: Final = "1.6.32"
INTEGRITY: Final = "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
"""Of the package's archive, as the registry publishes it; checked here too, whatever npm was told."""
FILES: Final = {
    "package/dist/uPlot.iife.min.js": "uplot.js",
    "package/dist/uPlot.min.css": "uplot.css",
    "package/LICENSE": "LICENSE.txt",
}
FILE_BYTES_MAX: Final = 200_000
"""The script has 52 KB; a page shall have less than 100 KB compressed."""
MARK: Final = "version.txt"


def main(folder: Path) -> None:
    """Make `folder` hold the charts' script and style sheet, if it does not yet."""
    mark = folder / MARK
    if mark.is_file() and mark.read_text() == INTEGRITY:
        return
    print(f"Setting up charts (uPlot {VERSION}) ...", flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="charts-", dir=folder.parent) as name:
            scratch = Path(name)
            files = scratch / "files"
            unpack(fetch(find_node(scratch), scratch), files)
            (files / MARK).write_text(INTEGRITY)
            replace(folder, files, scratch)
    except (SetUpError, OSError, tarfile.TarError) as error:
        print(
            f"Charts could not be set up: {error}\n"
            "Fileroom works without them; the dashboard shows plain pictures. The next 'make up' tries again.",
            file=sys.stderr,
        )


def fetch(node: Node, scratch: Path) -> Path:
    """The package's archive, checked."""
    place = scratch / "package"
    place.mkdir()
    wanted = f"{PACKAGE}@{VERSION}"
    command = ["pack", wanted, "--loglevel=error", "--fetch-retries=1", "--pack-destination", str(place)]
    run([*node.npm, *command], f"npm could not fetch {wanted}", folder=place)
    archives = list(place.glob("*.tgz"))
    if len(archives) != 1:
        raise SetUpError(f"npm left {len(archives)} archives of {wanted} where one was expected.")
    found = f"sha512-{base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()}"
    if found != INTEGRITY:
        raise SetUpError(f"The archive of {wanted} is not the expected one: it has {found}.")
    return archives[0]


def unpack(archive: Path, files: Path) -> None:
    """Take the files that are served, under names of ours. Raises SetUpError where one is missing or too large."""
    files.mkdir()
    with tarfile.open(archive) as tar:
        for source, name in FILES.items():
            try:
                member = tar.getmember(source)
            except KeyError as error:
                raise SetUpError(f"{source} is not in the archive.") from error
            content = tar.extractfile(member)
            if content is None or member.size > FILE_BYTES_MAX:
                raise SetUpError(f"{source} is no file of at most {FILE_BYTES_MAX} bytes.")
            (files / name).write_bytes(content.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
