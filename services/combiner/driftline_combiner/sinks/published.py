"""A forecast as the MQTT sink publishes it: under which topic, and as which JSON. Pure."""

import json
from collections.abc import Mapping
from urllib.parse import quote, unquote

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline.worker.stream_step import Series
from driftline_combiner.next_values import series_forecast

SEPARATORS = frozenset("/+#%")


def topic_level(text: str) -> str:
    """A key as one level of a topic: letters that have a meaning there, or that a broker may refuse, are written as in
    a URL."""
    return "".join(_escaped(letter) for letter in text)


def status_topic(prefix: str) -> str:
    """Holds `online` or `offline`."""
    return f"{prefix}/status"


def forecast_topic(prefix: str, stream: str, key: str) -> str:
    return f"{prefix}/{stream}/{topic_level(key)}/forecast"


def series_of(prefix: str, topic: str) -> Series | None:
    """The other way round; None for what is no such topic."""
    stream, _, rest = topic.removeprefix(f"{prefix}/").partition("/")
    series = (stream, unquote(rest.removesuffix("/forecast")))
    return series if topic == forecast_topic(prefix, *series) else None


def forecast_payload(stream: StreamDefinition, blend: Blend, skills: Mapping[int, float]) -> bytes:
    """What `GET /v1/forecasts/{stream}/{key}` answers, with the skill at each horizon; null where it is not known.
    skills: by horizon."""
    content = series_forecast(stream, blend).model_dump()
    for value in content["forecasts"]:
        value["skill"] = skills.get(value["horizon"])
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() and letter not in SEPARATORS else quote(letter, safe="")
