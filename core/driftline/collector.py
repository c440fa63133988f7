"""Python's collector of cycles while a process begins: there is nothing for it to find yet."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """What is imported within is not walked again and again for cycles: nearly all of it stays for good, and the walks
    are up to a fifth of the time that a service takes to be imported."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
