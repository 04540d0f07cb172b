"""Reading text in images: what a reader must do, and the entry point group that a package names its reader in.

Fileroom brings no reader; a package that has one names it in its metadata: `[project.entry-points."fileroom.ocr"]
mine = "package:Reader"`. What a reader calls text is blanked; what it overlooks leaves, so it must rather find too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fileroom.core.errors import ConfigurationError
from fileroom.deid.regions import Region

GROUP: Final = "fileroom.ocr"


class TextReader(Protocol):
    """Finds text in pictures. It keeps no state and may be called from several threads."""

    @property
    def name(self) -> str:
        """For the report."""

    def find_text(self, picture: NDArray[np.uint8], /) -> Sequence[tuple[int, int, int, int]]:
        """Where text stands: (left, top, right, bottom) in pixels, right and bottom outside.

        `picture` has shape (rows, columns) or (rows, columns, 3), 0 is black.
        """


def installed_reader() -> TextReader | None:
    """The first reader by name that a package has named; None when there is none. Raises ConfigurationError."""
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        try:
            made: Any = point.load()
            return made() if isinstance(made, type) else made  # type: ignore[no-any-return]  # whatever a package names
        except Exception as error:  # a stranger's package
            raise ConfigurationError(
                f"The reader {point.name} of {GROUP} cannot be loaded: {error}. Remove it."
            ) from error
    return None


def regions_of(reader: TextReader, picture: NDArray[np.uint8]) -> list[Region]:
    """What the reader finds, within the picture."""
    rows, columns = picture.shape[:2]
    found = []
    for left, top, right, bottom in reader.find_text(picture):
        region = Region(max(int(left), 0), max(int(top), 0), min(int(right), columns), min(int(bottom), rows))
        if region.left < region.right and region.top < region.bottom:
            found.append(region)
    return found
