"""Numbers that are put out are as long as they need be."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftline.arrays import shortened

pytestmark = pytest.mark.unit


@given(
    arrays(np.float64, 5, elements=st.floats(-1e9, 1e9)),
    st.floats(1e-6, 1e6, allow_subnormal=False),
)
def test_what_is_left_out_is_less_than_a_millionth_of_what_it_is_measured_by(values: np.ndarray, unit: float):
    short = shortened(values, np.array(unit))
    assert np.all(np.abs(short - values) <= 1e-6 * unit + 1e-15 * np.abs(values))
    np.testing.assert_array_equal(shortened(short, np.array(unit)), short)


def test_as_text_they_are_short_whatever_their_size():
    values = np.array([12.300000000190734863, -0.0123456789123, 1234567.891234567])
    assert json.dumps(shortened(values, np.array([3.0, 1e-4, 30.0])).tolist()) == "[12.3, -0.0123456789, 1234567.89123]"


def test_what_has_no_measure_or_is_missing_stays():
    values = np.array([0.1234567890123, np.nan, np.inf, 0.1234567890123])
    np.testing.assert_array_equal(shortened(values, np.array([0.0, 1.0, 1.0, np.nan])), values)


@given(
    arrays(np.float64, 5, elements=st.floats(1e-100, 1e9) | st.floats(-1e9, -1e-100)),
    st.floats(1e-6, allow_nan=False),
)
def test_and_less_than_a_ten_millionth_of_the_value_itself_however_large_that_is(values: np.ndarray, unit: float):
    assert np.all(np.abs(shortened(values, np.array(unit)) - values) <= 1e-7 * np.abs(values))
