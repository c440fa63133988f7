"""Labels sort edges: what is wrong with one is said, and nothing is guessed."""

import pytest

from driftline.errors import InvalidInput
from driftline.fleet.labels import parse_labels
from driftline.service.settings import read_settings
from driftline_inference.settings import InferenceSettings


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("site=north,roof=flat", {"site": "north", "roof": "flat"}),
        (" site = north , ", {"site": "north"}),
        ("", {}),
        ("v=1.2-rc_3", {"v": "1.2-rc_3"}),
    ],
)
def test_labels_are_pairs_with_commas_between(text: str, labels: dict[str, str]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    "text",
    ["north", "site=", "=north", "site=north;roof=flat", "site=nörd", "-site=north", "site=north-", "a=" + "b" * 64],
)
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"found '.*', expected NAME=VALUE such as site=north"):
        parse_labels(text)


def test_a_label_is_given_once() -> None:
    with pytest.raises(ValueError, match="found label 'site' twice"):
        parse_labels("site=north,site=south")


def test_there_are_not_too_many_labels() -> None:
    with pytest.raises(ValueError, match="found 21 labels, expected at most 20"):
        parse_labels(",".join(f"a{n}=b" for n in range(21)))


def test_the_setting_names_the_wrong_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_LABELS", "site=north,flat")
    with pytest.raises(
        InvalidInput, match="DRIFTLINE_LABELS: found 'site=north,flat': found 'flat', expected NAME=VALUE"
    ):
        read_settings(InferenceSettings)
    monkeypatch.setenv("DRIFTLINE_LABELS", "site=north,roof=flat")
    assert read_settings(InferenceSettings).labels == {"site": "north", "roof": "flat"}
