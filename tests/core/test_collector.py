"""While a process begins, Python walks for no cycles; afterwards it does as before."""

import gc

import pytest

from driftline.collector import uncollected


def test_within_nothing_is_collected_and_afterwards_it_is_as_before():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def fail_to_import() -> None:
    with uncollected():
        raise ImportError


def test_an_import_that_fails_leaves_the_collector_as_it_was():
    with pytest.raises(ImportError):
        fail_to_import()
    assert gc.isenabled()
