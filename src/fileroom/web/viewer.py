"""The viewer at /viewer: OHIF's files as `tools/viewer.py` has prepared them, its page and its settings.

`/viewer`, and whatever address the viewer makes below it, is the page. `/viewer/app-config.js` is made from our settings.
`/viewer/BUILD/...` are the files: their names and forms come from the list that was made with them, so that no request
ever becomes a path. They may be kept for ever, since another build has other addresses.

OHIF takes seconds to start. Until its own first image is drawn, the page shows that image as `/viewer/first-image` renders
it; it is there in a fraction of a second, as a picture to look at, and goes when the viewer is ready.
"""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from importlib import resources
from pathlib import Path
from typing import Final

import structlog
from starlette.requests import Request

from fileroom.admin.profiles import Profile
from fileroom.archive.first_image import find_first_image
from fileroom.archive.render import Renderer
from fileroom.archive.retrieve import FileRange
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConfigurationError, InvalidRequestError, NotFoundError, told
from fileroom.core.identifiers import UID
from fileroom.core.settings import Settings
from fileroom.dicom.display import Viewport
from fileroom.pixels.request import RenderRequest
from fileroom.web.answers import NO_STORE, PRIVATE, Answer, accepted_codings
from fileroom.web.audited import audited
from fileroom.web.authentication import identity_of
from fileroom.web.conditional import entity_tag, is_known, not_modified
from fileroom.web.console.language import choose_reader
from fileroom.web.endpoint import Handler
from fileroom.web.files import file_pieces
from fileroom.web.viewer_config import VIEWER_PATH, config_script

FOR_EVER: Final = "private, max-age=31536000, immutable"
FIRST_IMAGE_PATH: Final = VIEWER_PATH + "/first-image"
FIRST_IMAGE_SIDE_PX: Final = 1200
"""As much as is seen of it on most screens; a mammogram of 50 MB becomes 200 KB."""
LOGO_BYTES_MAX: Final = 4 << 20
"""Every reader loads it; a logo of more is a photograph by mistake."""
LOGO_TYPES: Final = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
_PREFERRED: Final = ("br", "gzip")
_EXTENSIONS: Final = {"identity": "", "gzip": ".gz", "br": ".br"}


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        # Image decoders (Emscripten) and the arrays of segmentations (ndarray) make functions from text of their own.
        "script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        "object-src 'self' blob:",
        "frame-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Of the page, and of the files, since a worker's policy comes with its script. Text in a page never becomes a script: there
are no inline ones, and none from other hosts; nor can anything be sent there."""

_SCRIPT_HEADERS: Final = {"content-type": "text/javascript; charset=utf-8"}
_STATIC: Final = resources.files("fileroom.web") / "static"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ViewerFile:
    """One file: where it lies, its media type, the bytes of each of its forms by content coding."""

    path: Path
    media_type: str
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Viewer:
    """What set-up has prepared. `scripts` and `styles` are needed before any image."""

    build: str
    version: str
    scripts: tuple[str, ...]
    styles: tuple[str, ...]
    files: Mapping[str, ViewerFile]


def viewer_folder(settings: Settings) -> Path:
    """Where `make up` puts the viewer, unless a setting says otherwise."""
    if settings.viewer_folder:
        return Path(settings.viewer_folder)
    return Path(sys.prefix) / "share" / "fileroom" / "viewer"


def load_viewer(folder: Path) -> Viewer | None:
    """The viewer in `folder`, None where there is none."""
    try:
        listed = json.loads((folder / "viewer.json").read_bytes())
        files = {
            str(name): ViewerFile(folder / name, str(one["type"]), {str(k): int(v) for k, v in one["sizes"].items()})
            for name, one in listed["files"].items()
        }
        return Viewer(listed["build"], listed["version"], tuple(listed["scripts"]), tuple(listed["styles"]), files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("viewer_not_usable", folder=str(folder), reason=str(error))
        return None


def viewer_handlers(archive: Archive, renderer: Renderer) -> dict[str, Handler]:
    """The handlers of /viewer by path pattern. Raises ConfigurationError for settings that cannot be used."""
    settings = archive.settings
    viewer = load_viewer(viewer_folder(settings))
    if viewer is None:
        missing = _missing_handler(viewer_folder(settings))
        return {VIEWER_PATH: missing, f"{VIEWER_PATH}/{{path:path}}": missing}
    page = _page_handler(viewer, settings)
    parts = _CurrentParts(viewer, settings)
    return {
        VIEWER_PATH: page,
        f"{VIEWER_PATH}/app-config.js": _config_handler(parts),
        FIRST_IMAGE_PATH: audited(archive, _first_image_handler(archive, renderer), "images", _study_of),
        f"{VIEWER_PATH}/logo": _logo_handler(parts),
        f"{VIEWER_PATH}/{viewer.build}/{{name:path}}": _file_handler(viewer),
        f"{VIEWER_PATH}/{{path:path}}": page,
    }


# --- handlers ---


def _page_handler(viewer: Viewer, settings: Settings) -> Handler:
    root = f"{VIEWER_PATH}/{viewer.build}/"
    main, *early = viewer.scripts
    links = [f'<link rel="stylesheet" href="{root}{name}">' for name in viewer.styles]
    links += [f'<link rel="preload" as="script" href="{root}{name}">' for name in early]
    template = string.Template((_STATIC / "viewer_page.html").read_text("utf-8"))
    fixed = {"config": f"{VIEWER_PATH}/app-config.js", "main": root + main, "links": "\n".join(links)}
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": POLICY,
        "cache-control": NO_STORE,
    }
    as_usual = Settings.model_fields["viewer_hanging_protocol"].default

    async def handle(request: Request) -> Answer:
        require(Permission.STUDY_VIEW)
        # What looks like a file is none of the page's own addresses: a script of an older build, for instance.
        if "." in request.path_params.get("path", ""):
            raise NotFoundError("The viewer has no such file. If the page has been open for long, load it again.")
        profile = identity_of(request).profile
        hung_as_usual = (
            profile.hanging_protocol or settings.viewer_hanging_protocol
        ) == as_usual and not profile.layout
        study = _only_study(request) if hung_as_usual and not request.path_params.get("path") else None
        picture = (
            f'<img id="first-image" fetchpriority="high" alt="" src="{FIRST_IMAGE_PATH}?study={study}">'
            if study
            else ""
        )
        html = template.substitute(
            fixed,
            title=escape(settings.viewer_name),
            picture=picture,
            reports=_reports_link(request),
        )
        return Answer(200, headers, html.encode())

    return handle


def _reports_link(request: Request) -> str:
    """To the reports on the page of the study that is looked at."""
    study = _only_study(request)
    if study is None:
        return ""
    reader = choose_reader(identity_of(request).profile.language, request.headers.get("accept-language"))
    words = escape(reader.tell(told("Reports of this study")))
    return f'<a id="reports" href="/studies/{study}#reports" target="fileroom-study">{words}</a>'


def _only_study(request: Request) -> str | None:
    """The study where nothing but one study is asked for: then it is known what will be seen first."""
    asked = request.query_params.multi_items()
    if len(asked) != 1 or asked[0][0].lower() != "studyinstanceuids":
        return None
    try:
        return UID(asked[0][1])
    except InvalidRequestError:
        return None


def _study_of(request: Request) -> str:
    return request.query_params.get("study", "")


def _first_image_handler(archive: Archive, renderer: Renderer) -> Handler:
    wanted = RenderRequest(viewport=Viewport(FIRST_IMAGE_SIDE_PX, FIRST_IMAGE_SIDE_PX), enlarge=False)

    async def handle(request: Request) -> Answer:
        try:
            instance = await find_first_image(archive, UID(_study_of(request)))
        except NotFoundError:
            return Answer(204, {"cache-control": NO_STORE})  # it is an extra: the page goes on without
        tag = entity_tag(instance, "first image", wanted)
        if unchanged := not_modified(request, tag):
            return unchanged
        headers = {"content-type": wanted.media_type, "etag": tag, "cache-control": PRIVATE}
        return Answer(200, headers, await renderer.render(instance, wanted))

    return handle


class _CurrentParts:
    """The viewer's configuration and logo as the settings are now; made anew when those change.

    At the start, a file that cannot be used is a ConfigurationError where the environment names it. Later, and for what an
    administrator has set, what there was before goes on: a slip of the pen must not take the viewer away from its readers.
    """

    def __init__(self, viewer: Viewer, settings: Settings) -> None:
        self._viewer = viewer
        self._settings = settings
        self._asked = _viewer_settings(settings)
        self._config: _Constant | None = None
        self._logo: _Constant | None = None
        self._make(outside=settings.model_fields_set)

    def config(self) -> _Constant:
        """The script of the viewer's settings."""
        self._look()
        if self._config is None:  # never made: the file of further settings was no good from the start
            usual = self._settings.model_copy(update={"viewer_config": ""})
            return _Constant(config_script(usual, self._viewer.build), _SCRIPT_HEADERS)
        return self._config

    def config_for(self, profile: Profile) -> _Constant:
        """The same with what a person has chosen."""
        usual = self.config()
        try:
            body = config_script(
                self._settings, self._viewer.build, hanging_protocol=profile.hanging_protocol, layout=profile.layout
            )
        except ConfigurationError:
            return usual
        return _Constant(body, _SCRIPT_HEADERS)

    def logo(self) -> _Constant | None:
        """The picture, None where there is none."""
        self._look()
        return self._logo

    def _look(self) -> None:
        if (asked := _viewer_settings(self._settings)) != self._asked:
            self._asked = asked
            self._make()

    def _make(self, outside: Collection[str] = ()) -> None:
        try:
            self._logo = _read_logo(self._settings.viewer_logo)
        except ConfigurationError as error:
            self._refuse(error, is_fatal="viewer_logo" in outside)
        try:
            self._config = _Constant(config_script(self._settings, self._viewer.build), _SCRIPT_HEADERS)
        except ConfigurationError as error:
            self._refuse(error, is_fatal="viewer_config" in outside)

    @staticmethod
    def _refuse(error: ConfigurationError, *, is_fatal: bool) -> None:
        if is_fatal:
            raise error
        _log.error("viewer_setting_not_usable", reason=str(error))


def _viewer_settings(settings: Settings) -> tuple[str, ...]:
    """All that the configuration and the logo are made of."""
    return tuple(str(getattr(settings, name)) for name in Settings.model_fields if name.startswith("viewer_"))


def _config_handler(parts: _CurrentParts) -> Handler:
    async def handle(request: Request) -> Answer:
        profile = identity_of(request).profile
        if profile.hanging_protocol or profile.layout:
            return parts.config_for(profile)(request)
        return parts.config()(request)

    return handle


def _read_logo(name: str) -> _Constant | None:
    """Raises ConfigurationError."""
    if not name:
        return None
    path = Path(name)
    media_type = LOGO_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ConfigurationError(f"FILEROOM_VIEWER_LOGO: {path} is none of {', '.join(LOGO_TYPES)}.")
    try:
        if path.stat().st_size > LOGO_BYTES_MAX:
            raise ConfigurationError(f"FILEROOM_VIEWER_LOGO: {path} has more than {LOGO_BYTES_MAX} bytes.")
        return _Constant(path.read_bytes(), {"content-type": media_type})
    except OSError as error:
        raise ConfigurationError(f"FILEROOM_VIEWER_LOGO: {path} cannot be read: {error.strerror}.") from error


def _logo_handler(parts: _CurrentParts) -> Handler:
    async def handle(request: Request) -> Answer:
        make = parts.logo()
        if make is None:
            raise NotFoundError("No logo is set (FILEROOM_VIEWER_LOGO).")
        return make(request)

    return handle


def _file_handler(viewer: Viewer) -> Handler:
    async def handle(request: Request) -> Answer:
        file = viewer.files.get(request.path_params["name"])
        if file is None:
            raise NotFoundError("The viewer has no such file.")
        coding = _coding(file, request.headers.get("accept-encoding"))
        tag = f'"{viewer.build}-{coding}"'
        headers = {"etag": tag, "cache-control": FOR_EVER, "vary": "Accept-Encoding"}
        if is_known(request, tag):
            return Answer(304, headers)
        headers |= {"content-type": file.media_type, "content-security-policy": POLICY}
        if coding != "identity":
            headers["content-encoding"] = coding
        path = file.path.with_name(file.path.name + _EXTENSIONS[coding])
        size = file.sizes[coding]
        return Answer(200, headers, file_pieces(FileRange(path, 0, size)), size)

    return handle


def _missing_handler(folder: Path) -> Handler:
    page = (_STATIC / "viewer_missing.html").read_text("utf-8").replace("$folder", escape(str(folder)))
    headers = {"content-type": "text/html; charset=utf-8", "cache-control": NO_STORE}

    async def handle(_request: Request) -> Answer:
        return Answer(503, headers, page.encode())

    return handle


def _coding(file: ViewerFile, accept_encoding: str | None) -> str:
    accepted = accepted_codings(accept_encoding)
    for coding in _PREFERRED:
        if coding in file.sizes and accepted.get(coding, accepted.get("*", 0.0)) > 0:
            return coding
    return "identity"


class _Constant:
    """An answer that stays the same while its settings do; browsers ask whether it still is."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        self._headers = {**headers, "etag": self._tag, "cache-control": PRIVATE}
        self._body = body

    def __call__(self, request: Request) -> Answer:
        if is_known(request, self._tag):
            return Answer(304, {"etag": self._tag, "cache-control": PRIVATE})
        return Answer(200, self._headers, self._body)
