"""A stream that was alone becomes one of several of its source: its saved state goes on as if nothing had been."""

from driftline.messages import FORECASTS, Forecast, Record
from driftline.streams.catalog import Streams
from driftline.streams.sources import records_of
from driftline.worker.keyed import KeyedStep
from driftline_inference.step import ForecastStep
from tests.upgrade import kept

ADDED = kept.stream().model_copy(update={"name": "added", "source_name": "kept", "target": "x", "features": {}})


def forecasts(step: KeyedStep[Record]) -> list[Forecast]:
    """Of what follows the states of the first release."""
    step.restore(0, {f"kept/{key}": state for key, state in kept.load().forecast_states.items()})
    return kept.forecasts_of(step, kept.following())


def test_a_state_of_before_serves_the_stream_when_another_shares_its_source():
    sources = Streams({"kept": kept.stream(), "added": ADDED}).sources
    alone = forecasts(KeyedStep({"kept": kept.forecast_step()}, lambda *_: None))
    shared = forecasts(
        KeyedStep(
            {"kept": kept.forecast_step(), "added": ForecastStep(ADDED, dict)},
            lambda *_: None,
            parts=lambda record: records_of(record, sources.streams_of(record.stream)),
        )
    )
    assert len(alone) == len(kept.following())
    of_kept = [FORECASTS.encode(forecast) for forecast in shared if forecast.stream == "kept"]
    assert of_kept == [FORECASTS.encode(forecast) for forecast in alone]
    assert len([forecast for forecast in shared if forecast.stream == "added"]) == len(alone)
