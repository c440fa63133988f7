"""What a client, a server or a browser leaves behind of a connection is collected as its test or module ends, and
blamed on nobody else.

A start of a client that is cancelled leaves a connection open that no one knows of, and a browser ends its own when it
likes. Later a destructor would complain of the transport and socket, in whatever test happens to run by then.
"""

import gc
import warnings
from collections.abc import Iterator

import pytest

USERS = ("kafka", "e2e", "process", "browser")
"""Markers of tests that may be clients of a broker, or whose browser may leave a connection."""
OPEN = pytest.mark.filterwarnings(
    r"ignore:(?s).*ResourceWarning. unclosed (transport )?<(socket|_Selector):pytest.PytestUnraisableExceptionWarning"
)
"""Connections, and nothing else that a destructor complains of: where one is collected says nothing of who left it."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(OPEN)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Around all of the test: what its fixtures gave is let go of after their teardown. What is left by the other tests
    of a module, of servers and browsers, is no matter of the next module either."""
    is_last = nextitem is None or nextitem.path != item.path
    try:
        return (yield)
    finally:
        if is_last or any(item.get_closest_marker(name) for name in USERS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
