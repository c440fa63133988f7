"""Which countries and subdivisions there are, and which of their days are holidays."""

import subprocess
import sys
from datetime import date

import pytest

from driftline.streams.public_holidays import EPOCH, days_of, expected_instead


@pytest.mark.parametrize("code", ["FR", "DE-BY", "US-CA", "GB-ENG", "FR-57", "NO"])
def test_countries_and_subdivisions_are_those_of_the_library(code: str):
    assert expected_instead(code) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("fr", "countries with F: FI, FJ, FK, FM, FO, FR"),
        ("France", "a code of ISO 3166 such as FR, or DE-BY for a subdivision; countries with F: FI"),
        ("DE-XX", "DE, or one of DE-BB, DE-BE,"),
        ("DE-", "DE, or one of DE-BB, DE-BE,"),
        ("1", "countries: AD, AE, AF,"),
        ("", "countries: AD, AE, AF,"),
        ("NYSE", "countries with N: NA,"),
    ],
)
def test_for_another_code_it_says_what_is_allowed(code: str, expected: str):
    assert expected in expected_instead(code)


def test_a_country_without_subdivisions_is_allowed_alone():
    assert expected_instead("MC-01") == "MC"


def test_a_subdivision_has_its_own_holidays_too():
    corpus_christi = date(2024, 5, 30).toordinal() - EPOCH
    assert corpus_christi in days_of("DE-BY", 2024)
    assert corpus_christi not in days_of("DE", 2024)
    assert set(days_of("DE", 2024)) < set(days_of("DE-BY", 2024))


def test_a_year_that_the_library_hardly_knows_is_no_warning():
    assert len(days_of("IN", 1950)) <= len(days_of("IN", 2024))


@pytest.mark.process
def test_the_library_is_not_imported_where_no_definition_names_holidays():
    program = """
import sys, numpy
from driftline.streams.calendar import LocalCalendar
from driftline.streams.definition_files import parse
text = "name: a\\ntime: {column: t, period: 1h}\\ntarget: y\\ncalendar: {zone: Asia/Tokyo}\\n"
LocalCalendar.of(parse(text, "a.yaml")).terms(numpy.array([0]))
print("holidays" in sys.modules)
parse(text.replace("Tokyo", "Tokyo, holidays: JP"), "a.yaml")
print("holidays" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert answer.stdout == "False\nTrue\n"
