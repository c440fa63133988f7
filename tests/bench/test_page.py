"""What a command writes into a page replaces what it wrote before, and nothing else."""

import pytest

from tests.bench.page import write_part

PAGE = "before\n<!-- make a -->\nold\n<!-- end -->\nbetween\n<!-- make b -->\nother\n<!-- end -->\nafter\n"


def test_only_the_command_s_own_part_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    write_part(page, "a", "new \\1\n")
    assert page.read_text() == PAGE.replace("old", "new \\1")


def test_a_page_without_the_part_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match="found 0 parts of `make c`, expected one"):
        write_part(page, "c", "")
