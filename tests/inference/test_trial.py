"""An edge follows a trial that it is in, and goes back when that ends; nothing else moves it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.fleet.quarantine import quarantine
from driftline.fleet.rollout import rank
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Quarantine, Trial
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.cache import Cache
from driftline_trainer.fit import Trained
from tests.inference.conftest import SIGNER, TRUST, put
from tests.models import Models

EDGE = "4f2a91b0c3d4"


class Published:
    """A store with three versions, and a pointer that tests move."""

    def __init__(self, store: FolderStore, stream: StreamDefinition, names: list[str]) -> None:
        self.store = store
        self.stream = stream
        self.stable, self.tried, self.newer = names

    def trial_of(self, version: str, *, share: float = 1.0) -> Trial:
        """share: of the way to the edge's rank that the bound has come; it is in from beyond 1 on."""
        return Trial(version, rank(EDGE, version, {}, {}) * share + 1e-9 * (share >= 1))

    async def point(self, version: str, trial: Trial | None = None, former: str | None = None) -> None:
        pointer = Pointer(version, trial, former)
        await self.store.put(manifests.pointer_key(self.stream.name, "batch"), manifests.encode(pointer))

    def edge(self, *, cache: Cache | None = None, labels: Mapping[str, str] | None = None):
        return Models.on(self.store, self.stream, TRUST, edge_id=lambda: EDGE, cache=cache, labels=labels)


@pytest.fixture
async def published(store, stream: StreamDefinition, versions: list[Trained]) -> Published:
    names = [await put(store, stream, trained) for trained in (versions[0], versions[1], versions[0])]
    return Published(store, stream, names)


def state(models: Models, published: Published):
    return models.registry.state(published.stream.name, "batch")


def served(models: Models, published: Published) -> tuple[str, str | None]:
    """What serves, and what it is compared with."""
    of = state(models, published)
    return of.version, of.former.version if of.former else None


async def test_an_edge_in_the_trial_runs_it_compared_with_what_all_others_run(published: Published):
    await published.point(published.stable, published.trial_of(published.tried))
    models = published.edge()
    await models.reconcile()
    assert served(models, published) == (published.tried, published.stable)
    assert state(models, published).named == published.tried
    shadows = models.registry.shadows()
    assert shadows[published.stream.name, "batch"].version == published.stable


@pytest.mark.parametrize("share", [0.0, 0.999])
async def test_all_other_edges_run_what_they_ran(published: Published, share: float):
    await published.point(published.stable, published.trial_of(published.tried, share=share))
    models = published.edge()
    await models.reconcile()
    assert served(models, published) == (published.stable, None)


async def test_it_stays_in_as_the_stages_grow_and_when_all_run_it(published: Published):
    models = published.edge()
    trial = published.trial_of(published.tried)
    for below in (trial.below, (trial.below + 1) / 2, 1.0):
        await published.point(published.stable, replace(trial, below=below))
        await models.reconcile()
        assert served(models, published) == (published.tried, published.stable)
    await published.point(published.tried, former=published.stable)
    await models.reconcile()
    assert served(models, published) == (published.tried, published.stable)
    assert state(models, published).swaps == 2


async def test_when_the_trial_was_stopped_it_goes_back_and_compares_nothing(published: Published):
    models = published.edge()
    await published.point(published.stable, published.trial_of(published.tried))
    await models.reconcile()
    await published.point(published.stable)
    await models.reconcile()
    assert served(models, published) == (published.stable, None)
    assert "was stopped" in state(models, published).latest[-1].why
    await models.reconcile()
    assert state(models, published).swaps == 3


async def test_what_all_edges_run_may_be_taken_back(published: Published):
    models = published.edge()
    await published.point(published.stable)
    await models.reconcile()
    await published.point(published.tried, former=published.stable)
    await models.reconcile()
    assert served(models, published) == (published.tried, published.stable)
    mark = Quarantine(published.tried, "worse", 0.0, published.stream.name, "batch")
    await quarantine(published.store, mark, SIGNER)
    await published.point(published.stable)
    await models.reconcile()
    assert served(models, published) == (published.stable, None)


async def test_a_newer_version_on_trial_is_compared_with_what_all_run_and_not_with_the_one_tried_before(published):
    models = published.edge()
    for version in (published.tried, published.newer):
        await published.point(published.stable, published.trial_of(version))
        await models.reconcile()
        assert served(models, published) == (version, published.stable)


async def test_what_was_tried_here_alone_is_no_former_version_of_the_next(published: Published):
    models = published.edge()
    await published.point(published.stable, published.trial_of(published.tried))
    await models.reconcile()
    await published.point(published.newer, former=published.stable)
    await models.reconcile()
    assert served(models, published) == (published.newer, published.stable)


async def test_an_edge_that_went_back_stays_there_while_the_trial_goes_on_and_when_all_run_it(published: Published):
    models = published.edge()
    trial = published.trial_of(published.tried)
    await published.point(published.stable, trial)
    await models.reconcile()
    models.registry.roll_back(published.stream.name, "batch", published.tried, "worse")
    for pointed in ((published.stable, replace(trial, below=1.0)), (published.tried, None)):
        await published.point(*pointed)
        await models.reconcile()
        assert served(models, published) == (published.stable, None)
    assert state(models, published).rolled_back == {published.tried: "worse"}


async def test_an_edge_with_the_labels_is_in_and_one_without_is_not(published: Published):
    trial = Trial(published.tried, 0.5, {"canary": "yes"})
    await published.point(published.stable, trial)
    labelled, plain = published.edge(labels={"canary": "yes", "site": "roof"}), published.edge(labels={"site": "roof"})
    for models in (labelled, plain):
        await models.reconcile()
    assert [served(models, published)[0] for models in (labelled, plain)] == [published.tried, published.stable]


async def test_a_pinned_version_stays(published: Published):
    models = published.edge()
    await published.point(published.stable)
    await models.reconcile()
    await models.reconciler.pin(published.stream.name, "batch", published.stable)
    await published.point(published.stable, published.trial_of(published.tried))
    await models.reconcile()
    assert state(models, published).version == published.stable
    await models.reconciler.pin(published.stream.name, "batch", None)
    await models.reconcile()
    assert served(models, published) == (published.tried, published.stable)


async def test_a_restart_in_the_trial_does_not_leave_it_while_the_id_is_not_known(published: Published, tmp_path: Path):
    cache = Cache(FolderStore(tmp_path / "cache"))
    await published.point(published.stable, published.trial_of(published.tried))
    await published.edge(cache=cache).reconcile()
    ids: list[str | None] = [None]
    restarted = Models.on(published.store, published.stream, TRUST, edge_id=lambda: ids[-1], cache=cache)
    await restarted.reconcile()
    assert served(restarted, published) == (published.tried, published.stable)
    ids.append(EDGE)
    await restarted.reconcile()
    assert served(restarted, published) == (published.tried, published.stable)
    assert state(restarted, published).swaps == 1


async def test_a_new_edge_that_knows_its_id_later_runs_what_all_run_until_then(published: Published):
    await published.point(published.stable, published.trial_of(published.tried))
    ids: list[str | None] = [None]
    models = Models.on(published.store, published.stream, TRUST, edge_id=lambda: ids[-1])
    await models.reconcile()
    assert served(models, published) == (published.stable, None)
    ids.append(EDGE)
    await models.reconcile()
    assert served(models, published) == (published.tried, published.stable)


async def test_a_version_on_trial_that_may_not_serve_leaves_what_all_run(published: Published):
    await published.store.put(manifests.manifest_key(published.stream.name, "batch", published.tried), b"{")
    await published.point(published.stable, published.trial_of(published.tried))
    models = published.edge()
    await models.reconcile()
    assert served(models, published) == (published.stable, None)
    assert list(state(models, published).refused) == [published.tried]


async def test_a_pointer_of_a_former_release_is_read_as_ever(published: Published):
    key = manifests.pointer_key(published.stream.name, "batch")
    await published.store.put(key, b'{"version": "%s"}' % published.stable.encode())
    models = published.edge()
    await models.reconcile()
    assert served(models, published)[0] == published.stable
    assert manifests.encode(Pointer("v")) == b'{\n "version": "v"\n}', "an edge of a former release reads it, too"
