"""The client for people's scripts: the administration API of a Fileroom, typed. It imports nothing else of Fileroom.

    from fileroom.client import Fileroom

    with Fileroom("https://fileroom.hospital", token=TOKEN) as fileroom:
        for study in fileroom.studies.search(study_date="today"):
            print(study.patient_name, study.instances)

Models and methods are made from the OpenAPI document by `tools/client.py`; what carries them is in `connection`.
"""

from fileroom.client.client import Fileroom
from fileroom.client.errors import (
    ApiError,
    BadRequestError,
    ChangedMeanwhileError,
    ConflictError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    TooManyAttemptsError,
    UnavailableError,
    UnreachableError,
)

__all__ = [
    "ApiError",
    "BadRequestError",
    "ChangedMeanwhileError",
    "ConflictError",
    "Fileroom",
    "NotAllowedError",
    "NotAuthenticatedError",
    "NotFoundError",
    "TooManyAttemptsError",
    "UnavailableError",
    "UnreachableError",
]
