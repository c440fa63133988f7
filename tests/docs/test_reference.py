"""The reference is as the definitions are, and leaves nothing unsaid."""

import pytest

from driftline.service.settings import Settings
from driftline.streams.definition_values import Section
from scripts.reference import docstrings
from scripts.reference.pages import FOLDER, PAGES
from scripts.reference.settings import SERVICES

SECTIONS = Section.__subclasses__()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_its_definitions_make_it(name: str):
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/reference/{name} is stale: run `make docs` and commit what it writes"


def test_no_page_is_left_over():
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("kind", [Settings, *SERVICES.values()], ids=lambda kind: kind.__name__)
def test_every_setting_says_what_it_does(kind: type[Settings]):
    assert set(kind.model_fields) - set(docstrings.of_fields(kind)) == set()


def test_every_key_of_a_stream_says_what_it_means():
    for kind in SECTIONS:
        plain = {name for name, field in kind.model_fields.items() if field.annotation not in SECTIONS}
        assert plain - set(docstrings.of_fields(kind)) - {"mqtt", "kafka"} == set(), kind.__name__
