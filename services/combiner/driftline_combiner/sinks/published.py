"""A forecast as the MQTT sink publishes it: under which topic, and as which JSON. Pure."""

import json
from collections.abc import Mapping

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.next_values import series_forecast

_ESCAPED = str.maketrans({letter: f"%{ord(letter):02X}" for letter in ("%", "/", "+", "#", *map(chr, range(32)))})


def topic_level(text: str) -> str:
    """A key as one level of a topic: letters with a meaning there are written as in a URL."""
    return text.translate(_ESCAPED)


def status_topic(prefix: str) -> str:
    """Holds `online` or `offline`."""
    return f"{prefix}/status"


def forecast_topic(prefix: str, stream: str, key: str) -> str:
    return f"{prefix}/{stream}/{topic_level(key)}/forecast"


def forecast_payload(stream: StreamDefinition, blend: Blend, skills: Mapping[int, float]) -> bytes:
    """What `GET /v1/forecasts/{stream}/{key}` answers, with the skill at each horizon; null where it is not known.
    skills: by horizon."""
    content = series_forecast(stream, blend).model_dump()
    for value in content["forecasts"]:
        value["skill"] = skills.get(value["horizon"])
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
