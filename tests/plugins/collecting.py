"""What was imported and collected is there until the end of the run, so Python's collector does not look at it again.

Half a million objects take it a fifth of a second, at every second module that is imported and after every test that
`tests.plugins.leaks` cleans up.
"""

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
