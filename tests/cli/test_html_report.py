"""The page of a report: it holds all that it shows, and a name from the data is text, whatever it contains."""

import base64
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from driftline_cli.html_report import (
    BulletList,
    HtmlReport,
    Paragraph,
    Picture,
    ReportSection,
    ShellCommand,
    render_html,
)
from tests.cli.reading import CHROMIUM, assert_reads_well

EVIL = """<script>alert(1)</script> "quoted" & 'so'"""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def table(title: str = "Errors", rows: int = 1) -> Table:
    made = Table(title=title, caption="Lower is better.")
    made.add_column("ahead")
    made.add_column("Temp [C]")
    for _ in range(rows):
        made.add_row("10 min", Text("0.25", "bold"))
        made.add_row("1 h", "0.67", style="bold")
    return made


def page(*blocks: object, title: str = "A report") -> str:
    return render_html(HtmlReport(title, [Paragraph("It helps.", answer=True)], [ReportSection(EVIL, blocks)]))  # type: ignore[arg-type]


def test_a_name_is_text_wherever_it_comes():
    blocks = (Paragraph(EVIL), BulletList([EVIL]), Picture(PNG, EVIL, EVIL), ShellCommand(EVIL, EVIL), table(EVIL))
    written = page(*blocks, title=EVIL)
    assert "<script" not in written
    assert '"quoted"' not in written
    assert written.count("&lt;script&gt;") == 13


def test_the_terminal_s_table_is_the_page_s():
    written = page(table())
    assert "<caption>Errors</caption>" in written
    assert '<th scope="col">ahead</th><th scope="col">Temp [C]</th>' in written
    assert '<tr><th scope="row">10 min</th><td class="strong">0.25</td></tr>' in written
    assert '<tr class="strong"><th scope="row">1 h</th><td>0.67</td></tr>' in written
    assert "<p>Lower is better.</p>" in written


def test_a_table_without_rows_is_a_head():
    assert "<tbody></tbody>" in page(table(rows=0))


def test_the_picture_is_in_the_page():
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}"' in page(Picture(PNG, "a dot", "How to read"))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
async def test_hostile_and_long_names_are_read_by_everyone(tmp_path: Path):
    file, long = tmp_path / "a b#c.html", "x" * 300
    blocks = (Paragraph(long), BulletList([long]), Picture(PNG, EVIL, long), ShellCommand(long, EVIL), table(long))
    file.write_text(page(*blocks, title=long), encoding="utf-8")
    await assert_reads_well(file, pictures=1)
