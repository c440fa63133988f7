"""An edge reaches its own part of the store, reads models and definitions, and nothing else."""

from typing import cast

import pytest

from driftline.fleet.names import join_token_key, registration_key
from driftline_trainer.fleet_door.policy import Verb, limit, refusal

OWN, OTHER = "k3v9q1x7m2ab", "zzzzzzzzzzzz"
MODEL = "models/attic/batch/v000042-0123456789ab"


def verbs_of(text: str) -> list[Verb]:
    return cast("list[Verb]", text.split())


def window(edge: str, kind: str = "windows") -> str:
    return f"{kind}/attic/R80711/001420070400000-001420219800000-{edge}.parquet"


@pytest.mark.parametrize(
    ("verbs", "key"),
    [
        ("get", f"{MODEL}/model.tflite"),
        ("get", f"{MODEL}/manifest.json"),
        ("get", "models/attic/batch/current.json"),
        ("get", "models/attic/batch/quarantine/v000042-0123456789ab.json"),
        ("get", "definitions/current.json"),
        ("get put", f"edges/{OWN}.json"),
        ("get put delete", f"states/{OWN}/combiner/a b%2F.bin"),
        ("get put", f"models/attic/batch/edges/{OWN}.json"),
        ("get put", window(OWN)),
        ("get put", window(OWN, "results")),
        ("get put", window(OWN, "futures")),
        ("list watch", "models/attic/batch/v"),
        ("list watch", "definitions/"),
        ("list", f"states/{OWN}/"),
        ("list", "results/attic/R80711/"),
    ],
)
def test_what_is_its_own_it_may(verbs: str, key: str):
    assert [refusal(OWN, verb, key) for verb in verbs_of(verbs)] == [None] * len(verbs.split())


@pytest.mark.parametrize(
    ("verbs", "key"),
    [
        ("get put delete", f"edges/{OTHER}.json"),
        ("get put delete", f"states/{OTHER}/combiner"),
        ("get put delete", f"states/{OWN}x/combiner"),
        ("get put delete", f"states/{OWN}/../{OTHER}/combiner"),
        ("get put delete", f"states/{OWN}//combiner"),
        ("get put delete", f"states/{OWN}/.hidden"),
        ("get put delete", f"states/{OWN}/a\nb"),
        ("get put delete", f"states/{OWN}/a\0b"),
        ("get put delete", f"states/{OWN}/"),
        ("get put delete", f"states\\{OWN}\\a"),
        ("get put delete", window(OTHER)),
        ("get put delete", f"windows/attic/R80711/deeper/001420070400000-001420219800000-{OWN}.parquet"),
        ("get put delete", f"windows/attic/001420070400000-001420219800000-{OWN}.parquet"),
        ("get put delete", f"windows/attic/R80711/{OWN}.parquet"),
        ("get put delete", "windows/attic/R80711/000000000000-000000000249.parquet"),
        ("get put delete", f"days/attic/2026-01-01-{OWN}.parquet"),
        ("get put delete", "history/all.parquet"),
        ("get put delete", "jobs/1.json"),
        ("get put delete", registration_key(OWN)),
        ("get put delete", join_token_key("0" * 64)),
        ("get put delete", ""),
        ("get put delete", "/"),
        ("get put delete", "models/../fleet/edges/a.json"),
        ("get put delete", f"{MODEL}/weights.npz"),
        ("get put delete", f"models/attic/batch/edges/{OTHER}.json"),
        ("get put delete", "models/attic/batch/refused/0123456789ab/report.json"),
        ("put delete", f"{MODEL}/model.tflite"),
        ("put delete", "models/attic/batch/current.json"),
        ("put delete", "models/attic/batch/quarantine/v000042-0123456789ab.json"),
        ("put delete", "definitions/current.json"),
        ("get put delete", "models/attic/batch/rollouts/v000042-0123456789ab.json"),
        ("delete", f"edges/{OWN}.json"),
        ("delete", f"models/attic/batch/edges/{OWN}.json"),
        ("watch", f"states/{OWN}/"),
        ("delete", window(OWN)),
        ("delete", window(OWN, "results")),
        ("list watch", ""),
        ("list watch", "m"),
        ("list watch", "models"),
        ("list watch", "windows/"),
        ("list watch", "results/attic/"),
        ("list watch", "results/attic/R80711"),
        ("list watch", "results/attic/R80711/0014"),
        ("list watch", "results/attic/../"),
        ("watch", "results/attic/R80711/"),
        ("list watch", "fleet/"),
        ("list watch", "edges/"),
        ("list watch", "states/"),
        ("list watch", f"states/{OWN}"),
        ("list watch", f"states/{OWN}/../"),
        ("list watch", f"states/{OTHER}/"),
    ],
)
def test_all_else_is_refused_with_what_it_may(verbs: str, key: str):
    for verb in verbs_of(verbs):
        said = refusal(OWN, verb, key)
        assert said is not None, verb
        assert said.startswith(f"edge {OWN} may not {verb} ")


def test_what_it_writes_has_a_bound_by_its_kind():
    bounds = [limit(key) for key in (f"edges/{OWN}.json", window(OWN), f"models/a/batch/edges/{OWN}.json")]
    assert bounds == [256 * 1024, 16 * 1024 * 1024, 64 * 1024]
