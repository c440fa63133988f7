"""Heartbeats that lie: each is refused with its reason, and none does harm."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.fleet.heartbeat import Comparison, Gap, ModelHealth, StreamHealth
from driftline.fleet.notes import NOTE_LIMIT, SignedNote, sealed
from driftline.models.signing import Signer, Trust, new_key
from driftline_inference.heartbeats.contents import bounded
from driftline_trainer.fleet.lies import RefusedHeartbeat, believed
from tests.fleet.simulated import beat, simulated

SIGNER = Signer(new_key())


def reason(payload: bytes, trust: Trust | None = None) -> str:
    with pytest.raises(RefusedHeartbeat) as refusal:
        believed(payload, "a1", trust)
    return refusal.value.reason


def test_what_edges_say_is_believed():
    for n in range(50):
        heartbeat = simulated(n)
        assert believed(sealed(heartbeat, None), heartbeat.edge, None) == heartbeat
    assert believed(sealed(beat(), SIGNER), "a1", Trust([SIGNER.public])) == beat()


def test_an_edge_of_very_many_streams_is_believed():
    models = {f"s{n:04}.{member}": ModelHealth() for n in range(1500) for member in ("batch", "speed")}
    heartbeat = bounded(beat(streams={}, models=models), NOTE_LIMIT)
    assert believed(sealed(heartbeat, None), "a1", None).left_out == 1500


@pytest.mark.parametrize(
    "changes",
    [
        {"every": 0.0},
        {"every": -60.0},
        {"every": 1e9},
        {"number": 0},
        {"number": 2**60},
        {"at": -1.0},
        {"at": 1e300},
        {"started": 1e12},
        {"lag": -1},
        {"lag": 10**400},
        {"disk_free": -5},
        {"name": "x" * 201},
        {"software": "x" * 3000},
        {"labels": {"x" * 300: "y"}},
        {"labels": {str(n): "" for n in range(3000)}},
        {"rivals": [str(n) for n in range(3000)]},
        {"streams": {"s": StreamHealth(skill={"1": 1.5})}},
        {"streams": {"s": StreamHealth(skill={"1": -1e200})}},
        {"streams": {"s": StreamHealth(coverage={"1": 1.01})}},
        {"streams": {"s": StreamHealth(keys=-1)}},
        {"models": {"s.batch": ModelHealth(since=1e200)}},
        {"models": {"s.batch": ModelHealth(comparisons=[Comparison(new="a", old="b", truths=-1)])}},
        {"models": {"s.batch": ModelHealth(comparisons=[Comparison(new="a", old="b", log_worse=1e300)])}},
        {"gaps": [Gap(stream="s", what="records", since=0, until=0, count=-2)]},
    ],
    ids=str,
)
def test_absurd_numbers_are_refused(changes: dict[str, Any]):
    assert reason(sealed(beat(**changes), None)) == "numbers"


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"1e999", b"null", b'"soon"'])
def test_what_is_no_number_is_refused(literal: bytes):
    payload = sealed(beat(), None).replace(b'"every":60.0', b'"every":' + literal)
    assert literal in payload
    assert reason(payload) in {"form", "numbers"}


def test_a_heartbeat_of_another_edge_is_refused():
    assert reason(sealed(beat("a2"), None)) == "edge"


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"note": 7}', b"[" * 100_000, b'{"note":' + b"[" * 100_000, b'{"x":' * 100_000],
    ids=lambda payload: str(payload[:10]),
)
def test_what_can_not_be_read_is_refused(payload: bytes):
    assert reason(payload) == "form"


def test_a_note_of_a_registered_edge_needs_its_signature():
    trust = Trust([SIGNER.public])
    assert reason(sealed(beat(), None), trust) == "signature"
    assert reason(sealed(beat(), Signer(new_key())), trust) == "signature"
    assert reason(sealed(beat(), SIGNER).replace(b"pi-a1", b"pi-a2"), trust) == "signature"


@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_is_written_there_nothing_but_a_refusal_comes_of_it(noise: bytes, cut: int):
    whole = sealed(simulated(7), None)
    for payload in (noise, whole[:cut] + noise + whole[cut:], whole[:cut]):
        try:
            believed(payload, "edge-0007", None)
        except RefusedHeartbeat:
            continue
        assert payload != whole[:cut]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(msgspec.to_builtins(simulated(7)))), json)
def test_a_field_of_any_other_content_is_believed_or_refused(field: str, value: Any):
    note = msgspec.to_builtins(simulated(7)) | {field: value}
    payload = msgspec.json.encode(SignedNote(msgspec.Raw(msgspec.json.encode(note))))
    try:
        assert believed(payload, "edge-0007", None).edge == "edge-0007"
    except RefusedHeartbeat:
        assert msgspec.json.encode(value) != msgspec.json.encode(msgspec.to_builtins(simulated(7))[field])
