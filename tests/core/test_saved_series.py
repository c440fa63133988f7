"""States that can't be taken up are left behind: a worker goes on without them."""

import zlib
from typing import Any

import msgspec
import pytest

from driftline.messages import Forecast, Record
from driftline.streams.definition_files import parse
from driftline.streams.grid import NEVER
from driftline.worker.parts import UnreadableState
from driftline.worker.stream_step import Age
from driftline_combiner.alert_rules import AlertRules
from driftline_combiner.drift import RIVER, Adwin
from driftline_combiner.state import SavedDetectors
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep

pytestmark = pytest.mark.unit

TEXT = "name: a\ntime: {column: when, period: 1h}\nkey: k\ntarget: y\nhorizon: [1]\n"
ALONE, TOGETHER = parse(TEXT, "a"), parse(f"{TEXT}group: site\ntogether: true\n", "a")
T = 1_700_000_000_000

Step = ForecastStep | BlendStep


def new_step(name: str, left: list[tuple[str, str, str]]) -> Step:
    if name == "blends":
        return BlendStep(ALONE, lambda *_: None, left_behind=lambda *said: left.append(said))
    stream = TOGETHER if name == "forecasts of a group" else ALONE
    return ForecastStep(stream, dict, left_behind=lambda *said: left.append(said))


def learn(step: Step) -> None:
    if isinstance(step, BlendStep):
        step.work([Forecast("a", "k", T, 1.0, [1], {"persistence": [1.0]}, {}, 0.0)])
    else:
        step.work([Record("a", "k", T, {"y": 1.0}, 0.0, "site")])


def changed(state: bytes, **fields: Any) -> bytes:
    """The state with other values of its fields, by their places."""
    content = msgspec.msgpack.decode(state)
    for place, value in fields.items():
        content[int(place.removeprefix("field"))] = value
    return msgspec.msgpack.encode(content)


@pytest.mark.parametrize("name", ["forecasts", "forecasts of a group", "blends"])
@pytest.mark.parametrize(
    ("damage", "age"),
    [
        (lambda state: state[:-5], Age(NEVER, None)),
        (lambda _: b"\0", Age(NEVER, None)),
        (lambda _: b"", Age(NEVER, None)),
        (lambda state: changed(state, field0="6"), Age(NEVER, None)),
        (lambda state: changed(state, field0=99), Age(T, None)),
        (lambda state: changed(state, field4=b"?"), Age(T, None)),
    ],
    ids=["cut off", "another type", "nothing", "a field of another type", "a later version", "a damaged body"],
)
def test_what_is_damaged_or_of_a_later_release_is_left_behind(name: str, damage: Any, age: Age):
    left: list[tuple[str, str, str]] = []
    former, step = new_step(name, left), new_step(name, left)
    learn(former)
    assert step.restore("k", damage(former.save("k"))) == age
    assert [(stream, key) for stream, key, _ in left] == [("a", "k")]
    assert step.last_t("k") is None
    learn(step)
    assert step.last_t("k") == T


def cut_off_rows(state: bytes) -> bytes:
    body = msgspec.msgpack.decode(zlib.decompress(msgspec.msgpack.decode(state)[4]))
    return changed(state, field4=zlib.compress(msgspec.msgpack.encode([body[0], body[1][:-8], body[2]])))


@pytest.mark.parametrize("name", ["forecasts", "forecasts of a group", "blends"])
def test_of_a_state_whose_rows_do_not_fit_nothing_stays(name: str):
    left: list[tuple[str, str, str]] = []
    former, step = new_step(name, left), new_step(name, left)
    learn(former)
    assert step.restore("k", cut_off_rows(former.save("k"))) == Age(T, None)
    assert "found rows of" in left[0][2]
    assert "k" not in step._store


def test_a_detector_that_river_cannot_read_is_an_error_like_others():
    detector = Adwin(0.05)
    for _ in range(40):
        detector.update(0.5)
    with pytest.raises(ValueError, match="found a state that river"):
        Adwin(0.05).load(detector.dump()[:-3])


def test_detectors_that_another_version_of_river_saved_begin_again():
    rules = AlertRules(ALONE, lambda *_: None)
    rules.add("k")
    saved = rules.dump("k")
    assert RIVER in saved.settings
    rules.load("k", SavedDetectors(saved.settings.replace(RIVER, "99.0"), dict.fromkeys(saved.states, b"?")))
    assert rules.dump("k") == saved
    with pytest.raises(UnreadableState, match="a drift detector"):
        rules.load("k", SavedDetectors(saved.settings, dict.fromkeys(saved.states, b"?")))
