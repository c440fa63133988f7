"""Who calls itself pure is held to it by the contract of pure modules."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVICES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("services/*/driftline_*"))
PACKAGES = ("core/driftline", "client/driftline_client", "cli/driftline_cli", "edge/driftline_edge", *SERVICES)
CONTRACT = "Pure modules import no client and no asyncio"


def modules() -> dict[str, Path]:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    bases = [(ROOT / package).parent for package in PACKAGES]
    named = {}
    for path in sources:
        base = next(base for base in bases if path.is_relative_to(base))
        named[".".join(path.relative_to(base).with_suffix("").parts)] = path
    return named


def calls_itself_pure(path: Path) -> bool:
    return re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") is not None


@pytest.fixture(scope="module")
def contract() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(set(each["source_modules"]) for each in contracts if each["name"] == CONTRACT)


def test_every_module_that_calls_itself_pure_is_in_the_contract(contract: set[str]):
    pure = {name for name, path in modules().items() if calls_itself_pure(path)}
    assert len(pure) > 20
    assert pure <= contract


def test_the_contract_names_modules_that_are_there(contract: set[str]):
    assert contract <= set(modules())
