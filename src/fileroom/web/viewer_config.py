"""The viewer's settings, `/viewer/app-config.js`, made from ours.

The script runs before OHIF's own. It says where DICOMweb is, what the viewer is called, how a study is hung first and
which of the patient's studies are listed; `FILEROOM_VIEWER_CONFIG` names a JSON file whose entries are laid over it
(https://docs.ohif.org/configuration/configurationFiles names them all).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fileroom.core.errors import ConfigurationError
from fileroom.core.settings import Settings
from fileroom.web.address import DICOMWEB_PATH

VIEWER_PATH: Final = "/viewer"
LOGO_PATH: Final = VIEWER_PATH + "/logo"
CONFIG_BYTES_MAX: Final = 1 << 20
"""Of the file with further settings: it goes to every browser with every study."""
PICTURE_MS_MAX: Final = 30_000
"""The picture of the first image never lies over the viewer for longer, whatever becomes of that."""
LAYOUTS: Final = {"images": (False, False), "series": (True, False), "panels": (True, True)}
"""Which panels beside the images are open at first, by the layout of a profile: the series, the measurements."""
HANGING_PROTOCOLS: Final = (
    "default",
    "mpr",
    "mprAnd3DVolumeViewport",
    "fourUp",
    "main3D",
    "primary3D",
    "primaryAxial",
    "only3D",
    "@ohif/mnGrid",
    "@ohif/hpMammo",
    "@ohif/hpCompare",
)
"""Those that the viewer brings along; a file of further settings can add others."""
SOURCE: Final = "fileroom"
_LONGITUDINAL: Final = "@ohif/mode-longitudinal"
_OTHER_MODES: Final = ("segmentation", "tmtv", "microscopy", "preclinical-4d", "basic", "ultrasound-pleura-bline")


def config_script(settings: Settings, build: str, *, hanging_protocol: str = "", layout: str = "") -> bytes:
    """The script; a person's own choices lie above all others. Raises ConfigurationError where the file with further settings
    cannot be used."""
    config = merged(_config(settings), _own_config(settings.viewer_config))
    config = merged(config, _chosen(hanging_protocol, layout))
    brand = {"name": settings.viewer_name, "logo": LOGO_PATH if settings.viewer_logo else ""}
    values = {"publicUrl": f"{VIEWER_PATH}/{build}/", "config": config, "brand": brand}
    return _SCRIPT.replace("VALUES", json.dumps(values)).replace("PICTURE_MS_MAX", str(PICTURE_MS_MAX)).encode()


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, objects key by key, everything else as a whole."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _config(settings: Settings) -> dict[str, Any]:
    first = {"hangingProtocol": {"$set": settings.viewer_hanging_protocol}}
    return {
        "name": "fileroom",
        # The mode for reading is at /viewer itself, the others below it.
        "routerBasename": VIEWER_PATH,
        "modesConfiguration": {_LONGITUDINAL: {"routeName": {"$set": ""}, **first}},
        "extensions": [],
        "modes": [],
        "customizationService": [{"studyBrowser.studyMode": {"$set": settings.viewer_priors}}],
        "customizationUrlPrefixes": {},
        "showStudyList": False,
        # Read once, confirmed once a year.
        "investigationalUseDialog": {"option": "configure", "days": 365},
        "showLoadingIndicator": True,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showErrorDetails": "production",
        "strictZSpacingForVolumeViewport": True,
        "maxNumberOfWebWorkers": 3,
        # A browser opens six connections to one host; what is asked for beyond waits in the browser.
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 10},
        "defaultDataSourceName": SOURCE,
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": SOURCE,
                "configuration": {
                    "friendlyName": settings.viewer_name,
                    "name": SOURCE,
                    "qidoRoot": DICOMWEB_PATH,
                    "wadoRoot": DICOMWEB_PATH,
                    "wadoUriRoot": "/wado",
                    "qidoSupportsIncludeField": True,
                    "supportsFuzzyMatching": True,
                    "supportsWildcard": True,
                    "supportsReject": False,
                    "enableStudyLazyLoad": True,
                    "imageRendering": "wadors",
                    # Plain images, which the server has ready: no frame of 50 MB for a picture of 100 pixels.
                    "thumbnailRendering": "thumbnailDirect",
                    "omitQuotationForMultipartRequest": True,
                    "singlepart": "bulkdata,video,pdf",
                    "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
                },
            }
        ],
    }


def _chosen(hanging_protocol: str, layout: str) -> dict[str, Any]:
    """What a person has chosen in their profile, as changes of the mode for reading."""
    mode: dict[str, Any] = {}
    if hanging_protocol:
        mode["hangingProtocol"] = {"$set": hanging_protocol}
    if layout in LAYOUTS:
        left, right = LAYOUTS[layout]
        closed = {"leftPanelClosed": {"$set": not left}, "rightPanelClosed": {"$set": not right}}
        mode["routes"] = {"0": {"layoutInstance": {"props": closed}}}
    return {"modesConfiguration": {_LONGITUDINAL: mode}} if mode else {}


def _own_config(name: str) -> dict[str, Any]:
    if not name:
        return {}
    path = Path(name)
    try:
        data = path.read_bytes()
        if len(data) > CONFIG_BYTES_MAX:
            raise ValueError(f"it has {len(data)} bytes, more than {CONFIG_BYTES_MAX}")
        config = json.loads(data)
        if not isinstance(config, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"FILEROOM_VIEWER_CONFIG: {path} cannot be used: {error}") from error
    return config


_SCRIPT: Final = """(() => {
  const {publicUrl, config, brand} = VALUES;
  window.PUBLIC_URL = publicUrl;
  window.browserImportFunction = name => import(name);
  document.title = brand.name;
  const picture = document.getElementById('first-image');
  const removePicture = () => picture?.remove();
  document.addEventListener('CORNERSTONE_IMAGE_RENDERED', removePicture, {capture: true, once: true});
  picture?.addEventListener('error', removePicture);
  if (picture?.complete && !picture.naturalWidth) removePicture();
  setTimeout(removePicture, PICTURE_MS_MAX);
  const homeward = react => react.createElement(
    'a',
    {href: '/', title: brand.name, style: {display: 'flex', alignItems: 'center', gap: 8, color: '#e6edf5'}},
    react.createElement('span', {'aria-hidden': true, style: {fontSize: 20}}, '\\u2039'),
    brand.logo
      ? react.createElement('img', {src: brand.logo, alt: brand.name, style: {height: 28, maxWidth: 180}})
      : react.createElement('span', {style: {fontSize: 16, fontWeight: 600}}, brand.name),
  );
  window.config = {...config, whiteLabeling: {createLogoComponentFn: homeward}};
})();
"""
