"""The gallery has each definition of docs/gallery/ as its file has it, a picture that loads fast, and its figures."""

import re

import pytest

from driftline.streams.definition_files import load
from tests.conftest import ROOT
from tests.docs.markdown import links, tokens

pytestmark = pytest.mark.unit
PAGE = ROOT / "docs" / "gallery.md"
DEFINITIONS = sorted((ROOT / "docs" / "gallery").glob("*.yaml"))
BYTES = 60_000
"""Of one picture, at most."""
FIGURES = re.compile(r"\| \*\*[\d.e+-]+\*\* \| [+-]\d\.\d{3} \| \d+ % \|$", re.MULTILINE)
"""The end of a row: the blend's error, its skill, and the share of truths inside the interval."""


SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]


def test_every_definition_on_the_page_is_as_its_file_has_it():
    shown = [token.content for token in tokens(PAGE) if token.type == "fence"]
    assert len(shown) == len(SECTIONS) > 0
    kept = [file.read_text(encoding="utf-8") for file in DEFINITIONS]
    assert [text for text in shown if text not in kept] == [], "run `make gallery`"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition(":")[0])
def test_a_stream_has_its_definition_its_picture_and_a_row_for_each_horizon(section: str):
    [file] = [file for file in DEFINITIONS if f"(gallery/{file.name})" in section]
    stream = load(file)
    assert len(FIGURES.findall(section)) == len(stream.horizon)
    picture = f"pictures/gallery-{stream.name}.png"
    assert picture in list(links(PAGE))
    assert f"({picture})" in section
    assert 5_000 < (PAGE.parent / picture).stat().st_size <= BYTES
