"""Events of every dialect are hints, and garbage is one too."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.store.s3_events import concerned, keys


def event(key: str) -> dict[str, object]:
    return {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]}


@pytest.mark.parametrize(
    "key",
    [
        "models/site a/x+y.json",
        "models/site+a/x%2By.json",
        "models%2Fsite+a%2Fx%2By.json",
        "models/site%20a/x%2By.json",
    ],
)
def test_a_key_is_found_however_it_was_encoded(key: str):
    assert "models/site a/x+y.json" in keys(json.dumps(event(key)))


def test_an_event_that_sns_wrapped_is_unwrapped():
    assert keys(json.dumps({"Type": "Notification", "Message": json.dumps(event("models/a"))})) == {"models/a"}


def test_a_test_event_may_concern_anything():
    assert concerned(b'{"Event": "s3:TestEvent"}', "models/") is None


def test_an_event_of_another_prefix_or_suffix_concerns_nobody():
    assert concerned(json.dumps(event("windows/a")), "models/") == frozenset()
    assert concerned(json.dumps(event("models/a/model.tflite")), "models/", "/current.json") == frozenset()
    assert concerned(json.dumps(event("models/a/current.json")), "models/", "/current.json") == {
        "models/a/current.json"
    }


@given(st.binary() | st.text())
def test_no_garbage_ever_raises(payload: bytes | str):
    concerned(payload, "models/")


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["Records", "s3", "object", "key", "Message"]), v),
    )
)
def test_no_strange_shape_ever_raises(shape: object):
    concerned(json.dumps(shape), "models/")
