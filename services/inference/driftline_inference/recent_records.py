"""What models are fed with to forecast from records that a client sends: made by the very step of the stream. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import msgspec
import numpy as np

from driftline.arrays import Floats, Ints
from driftline.clock import shown
from driftline.errors import InvalidInput
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs
from driftline.streams.gridded.rows import gridded
from driftline.streams.reading.rows import RowReader
from driftline.streams.rows import rows_of
from driftline_inference.serving import Model
from driftline_inference.step import ForecastStep

RECORDS_LIMIT = 4096
"""Rows of one request at most."""
SERIES_LIMIT = 1000

Texts = Sequence[bytes | str]
"""JSON objects, a row each."""


@dataclass(frozen=True)
class RecentSeries:
    """The series that records are of, as they are after the newest ones. Row i belongs to key i."""

    keys: list[str]
    times: Ints
    """[n, horizons]: what the forecasts are for, milliseconds since the epoch."""
    inputs: Inputs

    def forecast(self, model: Model) -> Floats:
        """[n, horizons] in the target's units. Raises InvalidInput where the records are too few for a model."""
        forecasts = model.forecast(self.inputs)
        missing = np.flatnonzero(~np.isfinite(forecasts).all(axis=1))
        if len(missing):
            lags = self.inputs.newest.shape[1]
            raise InvalidInput(
                f"found too little of {self.keys[missing[0]]!r} to forecast from, expected the newest {lags} periods, "
                "the last of them with the target"
            )
        return forecasts


def recent_series(stream: StreamDefinition, records: Texts, futures: Texts = ()) -> RecentSeries:
    """records: rows as ingest takes them, of all series together, in any order; of those of one time, which
    neighbours may see, as they are sent. futures: rows of what was known ahead.
    Raises InvalidInput that names the row."""
    step = ForecastStep(stream, dict)
    # Whatever it would raise an alert of, or count, is none of the stream's.
    step.replaying = True
    newest: dict[str, int] = {}
    messages = sorted([*_records(stream, records), *_futures(stream, futures)], key=_order)
    for are_futures, part in groupby(messages, key=lambda message: message.issued is not None):
        if are_futures:
            for future in part:
                step.foresee(future)
        else:
            caused = chain.from_iterable(step.work(list(part)))
            newest |= {
                message.key: message.grid_t or message.t for _, message in caused if isinstance(message, Forecast)
            }
    if not newest:
        raise InvalidInput("records: found none of which all neighbours came, expected those of a whole group")
    keys, ahead = list(newest), 1000 * stream.time.period * np.array(stream.horizon, dtype=np.int64)
    times = np.array([newest[key] for key in keys], dtype=np.int64)[:, None] + ahead
    return RecentSeries(keys, times, step.newest(keys))


def _order(message: Record) -> tuple[int, bool, int]:
    """As they would have come: what was issued with a record counts for it, too."""
    came = message.t if message.issued is None else message.issued
    return came, message.issued is None, message.t


def _records(stream: StreamDefinition, texts: Texts) -> list[Record]:
    records = _read("records", RowReader(stream), texts)
    twice = _first_repeated(records)
    if twice is not None:
        raise InvalidInput(f"records: found two of {twice.key!r} at {shown(twice.t / 1000)}, expected one of each time")
    if stream.grid is not None:
        records = _on_grid(stream, records)
    if len({record.key for record in records}) > SERIES_LIMIT:
        raise InvalidInput(f"records: found more than {SERIES_LIMIT} series, expected at most as many")
    return records


def _futures(stream: StreamDefinition, texts: Texts) -> list[Record]:
    if texts and not stream.futures:
        raise InvalidInput(f"futures: found {len(texts)}, expected none: {stream.name} has no `futures`")
    return _read("futures", RowReader(stream, futures=True), texts) if texts else []


def _read(name: str, reader: RowReader, texts: Texts) -> list[Record]:
    taken = reader.read(list(_rows(name, texts)), 0.0, text=False)
    if taken.refusals:
        first = taken.refusals[0]
        where = f"{name}: row {first.row}" + (f": {first.column}" if first.column else "")
        raise InvalidInput(f"{where}: found {first.value}, expected {first.expected}")
    return taken.records


def _rows(name: str, texts: Texts) -> Iterator[object]:
    for number, text in enumerate(texts, 1):
        try:
            yield msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidInput(f"{name}: row {number}: expected a JSON object: {error}") from error


def _first_repeated(records: Sequence[Record]) -> Record | None:
    seen: set[tuple[str, int]] = set()
    for record in records:
        if (record.key, record.t) in seen:
            return record
        seen.add((record.key, record.t))
    return None


def _on_grid(stream: StreamDefinition, readings: Sequence[Record]) -> list[Record]:
    """The records that readings become; the period of the newest one may still be open, and is left out."""
    rows = gridded(rows_of(readings, stream), stream)
    values = [
        {name: None if np.isnan(value) else value for name, value in zip(stream.columns, row, strict=True)}
        for row in rows.values.tolist()
    ]
    parts = zip(rows.keys.tolist(), rows.t.tolist(), values, rows.groups.tolist(), strict=True)
    return [Record(stream.name, key, t, value, 0.0, group) for key, t, value, group in parts]
