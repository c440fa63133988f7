"""Makes `la-haute-borne.parquet` from the wind farm data that the PyPI package `openoa` (3.2) carries.

    folder=$(mktemp -d) && pip download openoa==3.2 --no-deps --dest $folder
    python make_la_haute_borne.py $folder/openoa-3.2-py3-none-any.whl

Rows keep their order in time, the four turbines interleaved as they were recorded; exact repeats of a turbine's time
are kept too, as a stream would bring them. Values are rounded to what the sensors resolve, so that the file is small.
"""

import io
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

ARCHIVE = "examples/data/la_haute_borne.zip"
TABLE = "la-haute-borne-data-2014-2015.csv"
MEASUREMENTS = ("Ba_avg", "P_avg", "Ws_avg", "Va_avg", "Ot_avg", "Ya_avg", "Wa_avg")
DECIMALS = 2


def read(wheel: Path) -> pa.Table:
    """The table inside the zip inside the wheel."""
    with zipfile.ZipFile(wheel) as outer, zipfile.ZipFile(io.BytesIO(outer.read(ARCHIVE))) as inner:
        return pcsv.read_csv(io.BytesIO(inner.read(TABLE)))


def tidy(table: pa.Table) -> pa.Table:
    """Times as UTC, measurements as rounded 32-bit floats, in order of time."""
    times = pc.cast(table["Date_time"], pa.timestamp("s", tz="UTC"))
    columns = {"Wind_turbine_name": table["Wind_turbine_name"], "Date_time": times}
    columns |= {name: pc.cast(pc.round(table[name], DECIMALS), pa.float32()) for name in MEASUREMENTS}
    return pa.table(columns).sort_by([("Date_time", "ascending"), ("Wind_turbine_name", "ascending")])


if __name__ == "__main__":
    target = Path(__file__).with_name("la-haute-borne.parquet")
    pq.write_table(
        tidy(read(Path(sys.argv[1]))),
        target,
        compression="zstd",
        compression_level=19,
        row_group_size=1 << 20,
        use_byte_stream_split=list(MEASUREMENTS),
        use_dictionary=["Wind_turbine_name"],
    )
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {pq.read_metadata(target).num_rows} rows")  # noqa: T201
