"""What a request's sender reads of its rows: how many were taken, and why the others were not."""

from pydantic import BaseModel, Field

from driftline.service.problems import Problem
from driftline.streams.reading.refusals import Refusal


class RefusedRow(BaseModel):
    """A row that is no record; `row` counts from 1."""

    row: int
    column: str
    found: str
    expected: str

    @classmethod
    def of(cls, refusal: Refusal) -> "RefusedRow":
        return cls(row=refusal.row, column=refusal.column, found=refusal.value, expected=refusal.expected)


class Receipt(BaseModel):
    """The result for the rows of a request."""

    accepted: int
    repeated: int
    """Acknowledged before."""
    out_of_order: int
    """Older than the newest of their series, and too old to be taken as late: by the stream's `forget`, or since it is
    no longer known whether they are repeated."""
    refused_total: int
    refused: list[RefusedRow]
    late: int | None = Field(
        None,
        description="of the accepted, those that came after later ones of their series: they are archived, and "
        "forecasts learn from them within the stream's `patience`; absent where there are none",
    )
    detail: str | None = Field(
        None,
        description="why nothing was accepted although there were records",
        examples=[
            "nothing new: 20 repeated, 0 out of order; the newest record of 'R80711' is of 2015-01-01T00:10:00.000Z"
        ],
    )


class RefusedReceipt(Receipt, Problem):
    """A receipt of which every row was refused, as a problem."""

    detail: str = Field(description="how many rows were refused")


def rows_of(receipt: Receipt) -> int:
    """Rows that a receipt is about."""
    return receipt.accepted + receipt.repeated + receipt.out_of_order + receipt.refused_total
