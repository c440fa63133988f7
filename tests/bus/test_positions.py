"""How a position lies on Kafka's state topic."""

import pytest

from driftline.bus.kafka.checkpoints import _offsets

pytestmark = pytest.mark.unit


def test_a_position_goes_with_the_offset_from_which_states_are_made_again():
    assert _offsets(b"12 7") == (12, 7)


def test_the_states_of_the_release_before_are_as_of_its_position():
    assert _offsets(b"12") == (12, 12)
