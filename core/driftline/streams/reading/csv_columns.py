"""CSV as columns of text, by Arrow: for files that are too long to be read row by row. Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pcsv

from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.csv_text import HEAD, CsvDialect, MalformedCsv, Wanted, decoded, dialect_of, records_of
from driftline.streams.reading.values import NOTHING

NAN = "NaN"
DAY_FIRST = ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S")
SHORT_YEAR = re.compile(rb"(?<![\d.])\d{1,2}\.\d{1,2}\.\d\d[ T]\d")
"""For Arrow, 31.12.23 is of the first century."""
LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class CsvBody:
    """The bytes of a file in UTF-8, and how they are written."""

    body: bytes
    dialect: CsvDialect

    @classmethod
    def of(cls, body: bytes, form: CsvFormat, wanted: Wanted) -> "CsvBody":
        """Raises MalformedCsv."""
        if form.encoding != "utf-8":
            body = decoded(body, form).encode()
        body = body.removeprefix(b"\xef\xbb\xbf")
        if LINE_END.search(body) is None:
            raise MalformedCsv("found one line alone, expected one with the columns' names and others with values")
        head = body if len(body) <= HEAD else body[: max(body.rfind(b"\n", 0, HEAD), body.rfind(b"\r", 0, HEAD)) + 1]
        return cls(body, dialect_of(decoded(head, CsvFormat()), form, wanted))

    def table(self, columns: Collection[str]) -> pa.Table:
        """Those columns as text, an empty one null. Raises ArrowException."""
        data = self._data()
        names = [name or f"\0{index}" for index, name in enumerate(self.dialect.names)]
        options = pcsv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        )
        if not data.strip():
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        return pcsv.read_csv(
            pa.BufferReader(data),
            read_options=pcsv.ReadOptions(column_names=names),
            parse_options=pcsv.ParseOptions(delimiter=self.dialect.separator, newlines_in_values=b'"' in data),
            convert_options=options,
        )

    def typed_table(self) -> pa.Table:
        """All columns, of the kinds that Arrow finds. Raises ArrowException."""
        data = self._data()
        if not data.strip():
            return pa.table({name: pa.nulls(0) for name in self.dialect.names})
        options = pcsv.ConvertOptions(
            decimal_point="," if self.dialect.decimal == "," else ".",
            null_values=[form for word in sorted(NOTHING) for form in (word, word.upper(), word.title())] + [NAN],
            timestamp_parsers=[pcsv.ISO8601, *([] if SHORT_YEAR.search(data[:HEAD]) else DAY_FIRST)],
        )
        return pcsv.read_csv(
            pa.BufferReader(data),
            read_options=pcsv.ReadOptions(column_names=list(self.dialect.names)),
            parse_options=pcsv.ParseOptions(delimiter=self.dialect.separator),
            convert_options=options,
        )

    def lines(self, rows: Sequence[int]) -> list[int]:
        """The lines, from 1, that rows end in; rows: ascending, from 0. Raises MalformedCsv, also for a line before
        them that is broken."""
        wanted, lines = set(rows), []
        for row, (line, _) in enumerate(records_of(decoded(self.body, CsvFormat()), self.dialect)):
            if row in wanted:
                lines.append(line)
            if len(lines) == len(wanted):
                break
        return lines

    def check(self) -> None:
        """Raises MalformedCsv with the line that Arrow could not read, if that can be said."""
        for _ in records_of(decoded(self.body, CsvFormat()), self.dialect):
            pass

    def _data(self) -> bytes:
        """Without the header, and without comments."""
        start, comment = self._start(), self.dialect.comment.encode()
        data = self.body[start:]
        if comment and (data.startswith(comment) or b"\n" + comment in data or b"\r" + comment in data):
            lines = re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", data)
            data = b"".join(line for line in lines if not line.startswith(comment))
        return data

    def _start(self) -> int:
        """Where the first line of data begins."""
        start = 0
        for _ in range(self.dialect.data - 1):
            end = LINE_END.search(self.body, start)
            if end is None:
                return len(self.body)
            start = end.end()
        return start
