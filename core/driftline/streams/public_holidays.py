"""Public holidays of countries and their subdivisions, by the library `holidays`. Pure.

The library is imported when a definition names a country, and not before: it takes half a second and 14 MB.
"""

import warnings
from datetime import date
from functools import lru_cache

EPOCH = date(1970, 1, 1).toordinal()


def expected_instead(code: str) -> str | None:
    """What is allowed instead of `code`; None where the library has this country or subdivision."""
    import holidays  # noqa: PLC0415 - see above

    country, dash, subdivision = code.partition("-")
    subdivisions = holidays.list_supported_countries().get(country)
    if subdivisions is None:
        return f"a code of ISO 3166 such as FR, or DE-BY for a subdivision; {_near(country)}"
    if not dash or subdivision in subdivisions:
        return None
    parts = f", or one of {', '.join(f'{country}-{part}' for part in subdivisions)}" if subdivisions else ""
    return f"{country}{parts}"


def _near(country: str) -> str:
    """The codes of two letters that begin with the same one, or else all."""
    import holidays  # noqa: PLC0415 - see above

    codes = sorted(holidays.list_supported_countries(include_aliases=False))
    same = [code for code in codes if code[0] == country[:1].upper()]
    return f"countries with {same[0][0]}: {', '.join(same)}" if same else f"countries: {', '.join(codes)}"


@lru_cache(maxsize=1000)
def days_of(code: str, year: int) -> tuple[int, ...]:
    """Days since the epoch that are holidays in that year, ascending. code: as the library has it, see above."""
    import holidays  # noqa: PLC0415 - see above

    country, _, subdivision = code.partition("-")
    with warnings.catch_warnings():
        # Of some countries the library knows a few decades alone; the other years have fewer holidays or none.
        warnings.filterwarnings("ignore", "Requested Holidays are available only", UserWarning)
        days = holidays.country_holidays(country, subdiv=subdivision or None, years=year, expand=False)
    return tuple(sorted(day.toordinal() - EPOCH for day in days))
