"""Opens the sinks that the settings name. Each is imported only where it is used: memory is dear on the edge."""

from collections.abc import Callable, Mapping
from typing import assert_never

from driftline.streams.catalog import Streams
from driftline_combiner.sinks.job import OpenedSink
from driftline_combiner.sinks.settings import InfluxSection, MqttSection, PostgresSection, Section, WebhookSection

Skills = Callable[[str, str], Mapping[int, float]]
"""By stream and key the skill at each horizon, as far as it is known."""


def open_sinks(sections: Mapping[str, Section], streams: Streams, skills: Skills) -> list[OpenedSink]:
    """None connects before it runs."""
    return [_open(name, section, streams, skills) for name, section in sections.items()]


def _open(name: str, section: Section, streams: Streams, skills: Skills) -> OpenedSink:
    match section:
        case MqttSection():
            from driftline_combiner.sinks.mqtt import MqttSink  # noqa: PLC0415

            return OpenedSink(name, section.type, MqttSink(name, section, streams, skills))
        case InfluxSection():
            from driftline_combiner.sinks.influx import InfluxSink  # noqa: PLC0415

            return OpenedSink(name, section.type, InfluxSink(section, streams))
        case PostgresSection():
            from driftline_combiner.sinks.postgres import PostgresSink  # noqa: PLC0415

            return OpenedSink(name, section.type, PostgresSink(section, streams))
        case WebhookSection():
            from driftline_combiner.sinks.webhook import WebhookSink  # noqa: PLC0415

            webhook = WebhookSink(section)
            return OpenedSink(name, section.type, webhook, section.begin, webhook.takes)
        case _:
            assert_never(section)
