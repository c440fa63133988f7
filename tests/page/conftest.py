"""What all tests of the pages share."""

import shutil
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.async_api import expect

from tests.page import browser
from tests.shared import Shared

# On a busy machine a browser takes more than the five seconds that it has by default.
expect.set_options(timeout=90_000)


@pytest.fixture(scope="session", autouse=True)
def chromium(shared: Shared) -> Iterator[None]:
    """Is started once a run."""
    with pytest.MonkeyPatch.context() as patch:
        if found := shutil.which("chromium"):
            patch.setenv(browser.ADDRESS, shared.once("chromium", partial(browser.start, found)))
        yield
