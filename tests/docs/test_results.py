"""README's results are those of the pages that the measuring commands write."""

import pytest

from scripts.results import README, tables, updated

pytestmark = pytest.mark.unit
PAGE = """\
| step | a | b |
|---|---|---|
| first | 1 | **2** |

## Wind
### 6 ahead
text

| step | a |
| --- | --- |
| **first** | 3 |

## Sun

| step | a |
| --- | --- |
| first | 4 |
"""


def test_the_results_are_those_of_the_pages():
    text = README.read_text(encoding="utf-8")
    assert text == updated(text), "README's results are stale: run `make docs` and commit what it writes"


def test_tables_are_found_by_heading_row_and_column():
    found = tables(PAGE)
    assert found[""]["first"]["b"] == "2"
    assert found["Wind / 6 ahead"]["first"]["a"] == "3"
    assert found["Sun"]["first"]["a"] == "4"


def test_a_readme_without_a_place_for_results_is_refused():
    with pytest.raises(ValueError, match="found 0 places"):
        updated("# Driftline")
