"""What is counted is seen from its beginning, and a record's way from its sensor on."""

from driftline.bus.port import Envelope
from driftline.messages import FORECASTS, Forecast
from driftline.metrics import Metrics, from_zero
from driftline.worker.loop_metrics import LoopMetrics


def test_a_counter_is_there_before_its_first_event():
    metrics = Metrics()
    from_zero(metrics.training_jobs, ["a"], ("batch", "speed"), ["failed"])
    labels = {"stream": "a", "member": "speed", "outcome": "failed"}
    assert metrics.registry.get_sample_value("driftline_training_jobs_total", labels) == 0


def test_latency_is_told_by_stage_from_the_door_and_from_the_sensor():
    metrics = Metrics()
    forecast = Forecast("a", "k", 60_000, 1.0, [1], {}, {}, received=90.0)
    cause = Envelope(0, 0, 99.0, forecast)
    LoopMetrics(metrics, "combiner", FORECASTS.name).sent([forecast], [cause], now=100.0)
    told = {
        name: metrics.registry.get_sample_value(f"driftline_{name}_latency_seconds_sum", {"group": "combiner"})
        for name in ("stage", "record", "sensor")
    }
    assert told == {"stage": 1.0, "record": 10.0, "sensor": 40.0}


def test_no_latency_is_negative_when_a_clock_was_set_back():
    metrics = Metrics()
    forecast = Forecast("a", "k", 60_000, 1.0, [1], {}, {}, received=90.0)
    LoopMetrics(metrics, "combiner", FORECASTS.name).sent([forecast], [Envelope(0, 0, 99.0, forecast)], now=50.0)
    for name in ("stage", "record", "sensor"):
        labels = {"group": "combiner"}
        assert metrics.registry.get_sample_value(f"driftline_{name}_latency_seconds_sum", labels) == 0.0
        assert metrics.registry.get_sample_value(f"driftline_{name}_latency_seconds_count", labels) == 1.0
