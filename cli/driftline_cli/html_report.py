"""One page of HTML that a run leaves behind: it holds its pictures and styles, needs no network and no script. Pure.

What is given is text; it is escaped here, so that a series' name may hold anything.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rich.table import Table
from rich.text import Text

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #4d5a68; --paper: #fff; --line: #d5dbe1; --raised: #f4f6f8;
  --accent: #b32f42; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --soft: #aab5c0; --paper: #14191f; --line: #38424d; --raised: #1d242c; --accent: #ff8f9c; }
  /* Pictures have a white ground: turned round, their colours keep their hue. */
  img { filter: invert(0.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
header, main { max-width: 66rem; margin: 0 auto; padding: 0 1rem; }
h1 { margin: 2rem 0 0.5rem; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 0.5rem; font-size: 1.25rem; }
h1, h2, p, li, figcaption, caption { overflow-wrap: anywhere; }
p, ul { max-width: 46rem; }
.answer { border-left: 4px solid var(--accent); padding-left: 0.9rem; font-size: 1.1rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.3rem; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-weight: normal; }
thead th { color: var(--soft); }
th:first-child { text-align: left; }
.strong, .strong th { font-weight: 700; }
figure { margin: 1.5rem 0; }
figure img { display: block; width: 100%; min-width: 44rem; height: auto; }
figcaption { color: var(--soft); }
pre { overflow-x: auto; margin: 0.3rem 0 1rem; padding: 0.7rem 0.9rem; background: var(--raised);
  border: 1px solid var(--line); border-radius: 6px; }
code { font: 0.95rem/1.5 ui-monospace, monospace; }
main { padding-bottom: 4rem; }
"""
ANSWER = ' class="answer"'
STRONG = ' class="strong"'


@dataclass(frozen=True)
class Paragraph:
    """Text. answer: the one that the page is about."""

    text: str
    answer: bool = False


@dataclass(frozen=True)
class BulletList:
    """Sentences, one below the other."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A PNG. says: what it shows, for those who do not see it; caption: how to read it."""

    png: bytes
    says: str
    caption: str


@dataclass(frozen=True)
class ShellCommand:
    """A line for the shell, and what it does."""

    line: str
    does: str


Block = Paragraph | BulletList | Picture | ShellCommand | Table


@dataclass(frozen=True)
class ReportSection:
    """A heading and what is below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class HtmlReport:
    """title: also the browser's. lead: what is above the first section."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[ReportSection]


def render_html(report: HtmlReport) -> str:
    """The page, whole."""
    return "\n".join([*_head(report.title), *_body(report), "</body>", "</html>", ""])


def _head(title: str) -> Iterator[str]:
    yield from ("<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">')
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # Nothing may be fetched or run, whatever a name in the data holds.
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    )
    yield from (f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", "</head>", "<body>")


def _body(report: HtmlReport) -> Iterator[str]:
    yield f"<header><h1>{escape(report.title)}</h1></header>"
    yield "<main>"
    yield from map(_block, report.lead)
    for index, section in enumerate(report.sections):
        yield f'<section aria-labelledby="part-{index}">'
        yield f'<h2 id="part-{index}">{escape(section.heading)}</h2>'
        yield from map(_block, section.blocks)
        yield "</section>"
    yield "</main>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, answer):
            return f"<p{ANSWER if answer else ''}>{escape(text)}</p>"
        case BulletList(lines):
            return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        case ShellCommand(line, does):
            # Long lines scroll, and a keyboard reaches them.
            opening = f'<pre tabindex="0" role="group" aria-label="{escape(does)}">'
            return f"<p>{escape(does)}</p>{opening}<code>{escape(line)}</code></pre>"
        case Picture():
            return _figure(block)
        case Table():
            return _table(block)


def _figure(picture: Picture) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture.png).decode('ascii')}"
    says = escape(picture.says)
    return (
        f'<figure><div class="scroll" tabindex="0" role="group" aria-label="{says}">'
        f'<img src="{source}" alt="{says}"></div><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    """The terminal's table; its first column names the rows. Bold there is bold here."""
    title = _plain(table.title)
    head = "".join(f'<th scope="col">{escape(_plain(column.header))}</th>' for column in table.columns)
    columns = [list(column.cells) for column in table.columns]
    rows = [
        _row(cells, strong=row.style == "bold")
        for row, cells in zip(table.rows, zip(*columns, strict=True), strict=True)
    ]
    below = f"<p>{escape(_plain(table.caption))}</p>" if table.caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(title)}"><table>'
        f"<caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{below}"
    )


def _row(cells: Sequence[object], *, strong: bool) -> str:
    first, *others = cells
    rest = "".join(map(_cell, others))
    return f'<tr{STRONG if strong else ""}><th scope="row">{escape(_plain(first))}</th>{rest}</tr>'


def _cell(cell: object) -> str:
    strong = isinstance(cell, Text) and cell.style == "bold"
    return f"<td{STRONG if strong else ''}>{escape(_plain(cell))}</td>"


def _plain(part: object) -> str:
    """Without the terminal's styles."""
    return part.plain if isinstance(part, Text) else "" if part is None else str(part)
