"""`/procedures`: the procedure code table."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.web.api.models import INTEGRAL, Asked, NameInPath, ShortText, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.orders import ShownCode
from fileroom.worklist import procedure_codes
from fileroom.worklist.facts import Code
from fileroom.worklist.procedure_codes import MINUTES_MAX, PROTOCOLS_MAX, STATIONS_MAX, ProcedureCode

_CSV_CHARS_MAX: Final = 500_000
"""As much as a body of the API holds; larger tables are imported on the page or by the command."""
_Scheme = Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ProtocolCode(Asked):
    """A protocol code."""

    value: ShortText
    scheme: ShortText = ""
    meaning: ShortText = ""


class AskedProcedure(Asked):
    """What a code means; an order's message wins over it."""

    scheme: Annotated[ShortText, Field(description="Empty: for every scheme without a row of its own.")] = ""
    meaning: ShortText = ""
    modality: ShortText = ""
    body_part: ShortText = ""
    laterality: ShortText = ""
    station_aets: Annotated[list[ShortText], Field(max_length=STATIONS_MAX)] = Field(default_factory=list)
    location: ShortText = ""
    minutes: Annotated[int, Field(strict=True, ge=0, le=MINUTES_MAX, description="0: not known."), INTEGRAL] = 0
    protocol_codes: Annotated[list[ProtocolCode], Field(max_length=PROTOCOLS_MAX)] = Field(default_factory=list)

    def row(self, code: str) -> ProcedureCode:
        """As the service takes it."""
        return ProcedureCode(
            code=code,
            scheme=self.scheme,
            meaning=self.meaning,
            modality=self.modality,
            body_part=self.body_part,
            laterality=self.laterality,
            station_aets=tuple(self.station_aets),
            location=self.location,
            minutes=self.minutes,
            protocol_codes=tuple(Code(one.value, one.scheme, one.meaning) for one in self.protocol_codes),
        )


class ShownProcedure(Shown):
    """A row of the table."""

    code: str
    scheme: str
    meaning: str
    modality: str
    body_part: str
    laterality: str
    station_aets: list[str]
    location: str
    minutes: int
    protocol_codes: list[ShownCode]
    version: int
    changed_by: str


class Procedures(Shown):
    """Rows of the table, by code."""

    items: list[ShownProcedure]


class ProcedureTable(Asked):
    """Rows as CSV with a head line."""

    csv: Annotated[
        str,
        Field(
            strict=True,
            max_length=_CSV_CHARS_MAX,
            pattern=r"^[^\x00]*$",
            examples=["code,modality,stations\nCTABD,CT,CT1 CT2\n"],
        ),
    ]


class ProceduresImported(Shown):
    """How many rows are new, and how many changed."""

    made: int
    changed: int


def add_procedures(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("procedures", "What a procedure code means for modalities, stations, rooms and protocols.")

    @resource.get("/procedures", "all", Permission.ORDER_READ)
    async def all_procedures(
        text: Annotated[_Scheme, Query(description="Begins a code, or stands in its meaning.")] = "",
    ) -> Procedures:
        """The table, by code."""
        found = await procedure_codes.list_procedure_codes(archive, text)
        return Procedures(items=[ShownProcedure.model_validate(one) for one in found])

    @resource.get("/procedures/{code}", "get", Permission.ORDER_READ)
    async def get_procedure(code: NameInPath, scheme: _Scheme = "") -> ShownProcedure:
        """One row."""
        return ShownProcedure.model_validate(await procedure_codes.get_procedure_code(archive, code, scheme))

    @resource.put("/procedures/{code}", "save", Permission.ORDER_MANAGE)
    async def save_procedure(code: NameInPath, asked: AskedProcedure) -> ShownProcedure:
        """Add a code, or replace it."""
        return ShownProcedure.model_validate(await procedure_codes.put_procedure_code(archive, asked.row(code)))

    @resource.delete("/procedures/{code}", "remove", Permission.ORDER_MANAGE)
    async def remove_procedure(code: NameInPath, scheme: _Scheme = "") -> None:
        """Remove a code; orders keep what it gave them."""
        await procedure_codes.remove_procedure_code(archive, code, scheme)

    @resource.post("/procedures", "import_table", Permission.ORDER_MANAGE)
    async def import_procedures(asked: ProcedureTable) -> ProceduresImported:
        """Add and replace codes from CSV, all or none."""
        made, changed = await procedure_codes.import_procedure_codes(archive, asked.csv)
        return ProceduresImported(made=made, changed=changed)
