"""Topic filters: what no broker would take is refused with the definition, and not by the first connection."""

import pytest

from driftline.errors import InvalidDefinition
from driftline.streams.definition_files import parse
from driftline.streams.topic_filters import check, covers, plain

pytestmark = pytest.mark.unit
STREAM = "name: a\ntime: {{column: when, period: 1h}}\nkey: k\ntarget: y\nfutures: {{f: level}}\nmqtt: {{{}}}\n"


@pytest.mark.parametrize(
    ("topics", "reason"),
    [
        ("x/{key}/y/{key}", r"found \{key\} twice in"),
        ("a/#/b", "found # in the middle of 'a/#/b'"),
        ("a{key}", r"found 'a\{key\}' in .*expected \{key\} alone between two slashes"),
        ("a/b+", r"found 'b\+' in"),
        ("a/{key}{group}", "alone between two slashes"),
        ("a\0b", "without NUL"),
        ("ä" * 40_000, "at most 65535 bytes"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_definition(topics: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        check(topics)
    if "\0" not in topics:
        with pytest.raises(InvalidDefinition, match=reason):
            parse(STREAM.format(f"topic: '{topics}'"), "a")
        with pytest.raises(InvalidDefinition, match=reason):
            parse(STREAM.format(f"topic: other, futures: '{topics}'"), "a")


@pytest.mark.parametrize("futures", ["plant/{key}", "plant/+", "plant/#", "#", "+/+"])
def test_topics_of_futures_that_have_all_of_the_records_are_refused(futures: str):
    with pytest.raises(InvalidDefinition, match="expected topics of its own"):
        parse(STREAM.format(f"topic: 'plant/{{key}}', futures: '{futures}'"), "a")


def test_topics_of_futures_may_lie_below_those_of_records():
    stream = parse(STREAM.format("topic: 'plant/#', futures: 'plant/{key}/ahead'"), "a")
    assert stream.mqtt is not None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/+", "a/b", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a", False),
        ("a", "a/b", False),
        ("a/{key}", "a/{group}", True),
    ],
)
def test_what_covers_what(one: str, other: str, *, expected: bool):
    assert covers(one, other) is expected


def test_placeholders_are_any_level_to_a_broker():
    assert plain("{group}/x/{key}/#") == "+/x/+/#"
