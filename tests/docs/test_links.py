"""Every link of every page leads somewhere, and every page is led to."""

import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT
from tests.docs.markdown import anchors, links

INDEX = ROOT / "docs" / "README.md"


def _pages() -> list[Path]:
    """The pages of this tree, but not what lies in ignored folders."""
    told = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if told.returncode:
        return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [ROOT / line for line in told.stdout.splitlines() if (ROOT / line).exists()]


PAGES = _pages()


def _within(page: Path) -> list[tuple[str, Path, str]]:
    """The links of a page that stay in this tree: as they stand, the file, the anchor."""
    found = []
    for link in links(page):
        parts = urlsplit(link)
        if not parts.scheme and not parts.netloc:
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            found.append((link, target, parts.fragment))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    for link, target, anchor in _within(page):
        assert target.exists(), f"{page.relative_to(ROOT)}: {link} leads to nothing"
        if anchor and target.suffix == ".md":
            there = anchors(target)
            assert anchor in there, f"{page.relative_to(ROOT)}: {link}: found no such heading among {sorted(there)}"


def test_the_index_leads_to_every_page_of_the_documentation():
    led = {target for _, target, _ in _within(INDEX)}
    folders = {target for target in led if target.is_dir()}
    pages = {page for page in PAGES if page.is_relative_to(INDEX.parent) and page != INDEX}
    assert {page.name for page in pages if page not in led and page.parent not in folders} == set()
