"""A test that drives a browser runs once more where the browser, not the page, failed it: an element that was drawn
anew while it was asked for, a call that took too long. What a test says of the page fails at once.

Each such run is counted in the summary.
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Behind tests/plugins/lanes.py, which marks them."""
    driven = [item for item in items if item.get_closest_marker("browser")]
    if not driven:
        return
    from playwright.async_api import Error  # noqa: PLC0415 - no other run has a browser's driver

    for item in driven:
        item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=[Error]))
