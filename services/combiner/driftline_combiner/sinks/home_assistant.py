"""What Home Assistant reads to show a series as a device with a sensor for each horizon. Pure.

See "MQTT discovery, device discovery payload" in its documentation; it needs release 2024.11 or later.
"""

import json
import re
from hashlib import sha256
from typing import Any, Final

import msgspec

from driftline.streams.definition import StreamDefinition
from driftline.worker.stream_step import Series
from driftline_combiner.sinks.published import forecast_topic, series_of, status_topic

DEVICE_CLASSES: Final = {
    **dict.fromkeys(("W", "kW", "MW", "GW", "mW"), "power"),
    **dict.fromkeys(("Wh", "kWh", "MWh", "GWh", "J", "kJ", "MJ", "GJ"), "energy"),
    **dict.fromkeys(("°C", "°F", "K"), "temperature"),
    **dict.fromkeys(("Pa", "hPa", "kPa", "mbar", "bar", "psi"), "pressure"),
    **dict.fromkeys(("V", "mV", "kV"), "voltage"),
    **dict.fromkeys(("A", "mA"), "current"),
    **dict.fromkeys(("Hz", "kHz", "MHz", "GHz"), "frequency"),
    **dict.fromkeys(("m/s", "km/h", "mph", "kn"), "speed"),
    **dict.fromkeys(("mm/h", "mm/d"), "precipitation_intensity"),
    **dict.fromkeys(("m³/h", "L/min"), "volume_flow_rate"),
    "W/m²": "irradiance",
    "lx": "illuminance",
    "VA": "apparent_power",
    "dB": "sound_pressure",
}
"""By unit, where it leaves no doubt: %, ppm or m may be of anything."""
COUNTED: Final = frozenset({"energy"})
"""Classes that Home Assistant takes no measurement for: their states are sums."""
PERIODS: Final = 3
"""Without a new forecast for so many periods a sensor has no state, unless the time that it is for is later still."""
LONGEST_SLUG: Final = 60
UNITS_OF_TIME: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
REMOVED: Final = {"platform": "sensor"}
ATTRIBUTES: Final = (
    "{{% set f = value_json.forecasts[{row}] %}}"
    "{{{{ {{'time': f.time, 'lower': f.interval.lower, 'upper': f.interval.upper, 'median': f.median, "
    "'quantiles': f.quantiles, 'skill': f.skill, 'issued': value_json.issued_time, "
    "'versions': value_json.versions}} | tojson }}}}"
)


def identifier(prefix: str, stream: str, key: str) -> str:
    """Of a series at Home Assistant, the same for ever: letters, digits, - and _ alone."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{prefix}_{stream}_{key}")[:LONGEST_SLUG]
    return f"{slug}_{sha256(chr(0).join((prefix, stream, key)).encode()).hexdigest()[:8]}"


def discovery_topic(discovery: str, prefix: str, stream: str, key: str) -> str:
    return f"{discovery}/device/{identifier(prefix, stream, key)}/config"


def any_discovery_topic(discovery: str) -> str:
    """A filter that those of all devices fit, also of others'."""
    return f"{discovery}/device/+/config"


def discovery_payload(prefix: str, stream: StreamDefinition, key: str, version: str) -> bytes:
    """The device of a series. version: of this software."""
    own = identifier(prefix, stream.name, key)
    topic = forecast_topic(prefix, stream.name, key)
    content = {
        "device": {
            "identifiers": [own],
            "name": f"{stream.name} {key}",
            "manufacturer": "Driftline",
            "model": f"forecast of {stream.target}",
        },
        "origin": {"name": "Driftline", "sw_version": version},
        "state_topic": topic,
        "availability_topic": status_topic(prefix),
        "qos": 1,
        "components": {
            f"{own}_{steps}": _sensor(own, topic, stream, row, steps) for row, steps in enumerate(stream.horizon)
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


class _DescribedDevice(msgspec.Struct):
    """The part of a device's description that is read again."""

    state_topic: str
    components: dict[str, Any]


def described_series(prefix: str, payload: bytes) -> Series | None:
    """Of a description that was made under this prefix; None for all others, and for what is none."""
    device = _described(payload)
    return None if device is None else series_of(prefix, device.state_topic)


def without_former_sensors(payload: bytes, former: bytes) -> bytes | None:
    """The description with an empty sensor for each that `former` has and it has not: that is how Home Assistant is
    asked to remove them. None where there are no such sensors."""
    device, before = msgspec.json.decode(payload), _described(former)
    left = {} if before is None else {name: REMOVED for name in before.components if name not in device["components"]}
    return msgspec.json.encode({**device, "components": device["components"] | left}) if left else None


def _described(payload: bytes) -> _DescribedDevice | None:
    try:
        return msgspec.json.decode(payload, type=_DescribedDevice)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _sensor(own: str, topic: str, stream: StreamDefinition, row: int, steps: int) -> dict[str, Any]:
    ahead = steps * stream.time.period
    return {
        "platform": "sensor",
        "unique_id": f"{own}_{steps}",
        "name": f"In {duration(ahead)}",
        "value_template": f"{{{{ value_json.forecasts[{row}].value }}}}",
        "json_attributes_topic": topic,
        "json_attributes_template": ATTRIBUTES.format(row=row),
        "expire_after": max(PERIODS * stream.time.period, ahead),
        **_kind(stream.unit),
    }


def _kind(unit: str | None) -> dict[str, str]:
    """Without a class of its own a number is a number by being a measurement."""
    device_class = DEVICE_CLASSES.get(unit or "")
    kind = {} if device_class in COUNTED else {"state_class": "measurement"}
    if unit is not None:
        kind["unit_of_measurement"] = unit
    if device_class is not None:
        kind["device_class"] = device_class
    return kind


def duration(seconds: int) -> str:
    """In the largest unit that divides it, such as `6 h`."""
    size, unit = next((size, unit) for size, unit in UNITS_OF_TIME if seconds % size == 0)
    return f"{seconds // size} {unit}"
