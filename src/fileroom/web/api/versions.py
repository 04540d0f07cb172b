"""Two administrators and one thing: whoever read an older version must not overwrite what they have not seen.

The entity tag of a thing is made from what is shown of it. A change that carries `If-Match` is made only if that tag still is
the thing's (RFC 9110 13.1.1); without the header it is made in any case.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from fileroom.web.api.problems import ChangedMeanwhileError

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        pattern=r"^[\x20-\x7e]*$",
        description="The ETag that was read: change this version only, else 412.",
    ),
]


def tag_of(shown: BaseModel) -> str:
    """The entity tag of a thing as it is shown."""
    return f'"{hashlib.blake2b(shown.model_dump_json().encode(), digest_size=12).hexdigest()}"'


def tag(response: Response, shown: BaseModel) -> None:
    """Tell the tag with the answer."""
    response.headers["etag"] = tag_of(shown)


def require_unchanged(if_match: str | None, shown: BaseModel) -> None:
    """Raises ChangedMeanwhileError where the client speaks of another version."""
    if if_match is None:
        return
    asked = {one.strip().removeprefix("W/") for one in if_match.split(",")}
    if "*" not in asked and tag_of(shown) not in asked:
        raise ChangedMeanwhileError(
            "Somebody else has changed this meanwhile, or it was never so. Read it again, look at the difference, "
            "then send the change with the new ETag."
        )
