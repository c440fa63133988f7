"""The histogram of batches says what prometheus-client's says of the same values."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.samples import Sample

from driftline.batch_histogram import BatchHistogram

BUCKETS = (0.001, 0.5, 2.0)
VALUES = st.lists(st.one_of(st.sampled_from((0.0, *BUCKETS)), st.floats(0, 10)))


def samples(registry: CollectorRegistry) -> list[Sample]:
    """Without the time of its making, which only one of the two has."""
    every = [sample for family in registry.collect() for sample in family.samples]
    return [sample._replace(value=round(sample.value, 9)) for sample in every if not sample.name.endswith("_created")]


@given(st.lists(VALUES))
def test_it_counts_as_the_librarys_own_does(batches: list[list[float]]):
    registries = CollectorRegistry(), CollectorRegistry()
    ours = BatchHistogram(registries[0], "a_seconds", "Of a test.", BUCKETS, "group").labels("g")
    theirs = Histogram("a_seconds", "Of a test.", ["group"], registry=registries[1], buckets=BUCKETS).labels("g")
    for batch in batches:
        ours.observe(batch)
        for value in batch:
            theirs.observe(value)
    assert samples(registries[0]) == samples(registries[1])
