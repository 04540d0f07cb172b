"""Stored images as people see them (PS3.18 8.3.5): opened where they lie, rendered in a thread.

Decoding holds a whole frame, so only a few are rendered at once; the others wait their turn. Films take minutes, so fewer
of them are made, and stills have turns of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from typing import Final, TypeVar

from fileroom.archive import retrieve
from fileroom.archive.random_access import open_reader
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.limits import FILMS_MAX
from fileroom.pixels import render as pixels_render
from fileroom.pixels.frames import frame_table
from fileroom.pixels.request import MOVING, RenderRequest
from fileroom.pixels.source import PixelSource, open_source

RENDERS_AT_ONCE: Final = max(2, os.cpu_count() or 1)
"""Rendering is work for the processor; more of it at once only costs memory."""

Result = TypeVar("Result")


class Renderer:
    """Renders the images of one archive, for one event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._turns = asyncio.Semaphore(RENDERS_AT_ONCE)
        self._film_turns = asyncio.Semaphore(FILMS_MAX)

    async def render(self, instance: StoredInstance, request: RenderRequest) -> bytes:
        """The asked frames as one file; several only as `image/gif` and `video/mp4`.

        Raises NotFoundError for a lost file or a frame that is not there, UnsupportedError for unknown media types,
        InvalidRequestError, InvalidObjectError, TooLargeError, NotAllowedError, StorageError.
        """
        require(Permission.STUDY_VIEW)
        turns = self._film_turns if request.media_type in MOVING else self._turns
        return await self._with_source(instance, turns, lambda source: pixels_render.render_source(source, request))

    async def thumbnail(self, instance: StoredInstance, side_px: int, media_type: str) -> bytes:
        """The middle frame, at most `side_px` wide and high. Raises as `render` does."""
        require(Permission.STUDY_VIEW)

        def make(source: PixelSource) -> bytes:
            return pixels_render.thumbnail(source, side_px, media_type=media_type)

        return await self._with_source(instance, self._turns, make)

    async def count_frames(self, instance: StoredInstance) -> int:
        """How many frames can be rendered. Raises NotFoundError when the object has no pixels, NotAllowedError."""
        require(Permission.STUDY_VIEW)
        return await self._with_source(instance, self._turns, lambda source: frame_table(source).count)

    async def _with_source(
        self, instance: StoredInstance, turns: asyncio.Semaphore, work: Callable[[PixelSource], Result]
    ) -> Result:
        # Corrections are laid over the header that rendering reads; without any, its own bytes serve.
        header = await retrieve.read_header(self._archive, instance) if instance.corrections else None
        loop = asyncio.get_running_loop()

        def in_thread() -> Result:
            with open_reader(self._archive, instance, loop) as read:
                source = open_source(read, instance.file_bytes)
                return work(source if header is None else dataclasses.replace(source, header=header))

        async with turns:
            return await asyncio.to_thread(in_thread)
