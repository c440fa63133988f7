"""An alert as the request of a webhook: what the presets send, how it is named, how it is signed. Pure."""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from driftline.errors import InvalidInput
from driftline.messages import Alert
from driftline_combiner.next_values import iso

SECRET_PREFIX: Final = "whsec_"  # noqa: S105
SECRET_BYTES: Final = range(24, 65)
URGENT: Final = frozenset({"lost", "identity", "rollback"})
"""Kinds that lose data or models until somebody looks."""


def alert_id(alert: Alert) -> str:
    """The same for the same alert, however often it is sent."""
    name = chr(0).join((alert.stream, alert.key, str(alert.t), alert.kind, alert.subject))
    return f"alert_{sha256(name.encode()).hexdigest()[:32]}"


def signing_key(secret: str) -> bytes:
    """The key in a secret of Standard Webhooks. Raises InvalidInput."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) not in SECRET_BYTES:
        raise InvalidInput(f"expected {SECRET_PREFIX} and {SECRET_BYTES.start} to {SECRET_BYTES[-1]} bytes in base64")
    return key


def signed_headers(name: str, now: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """As Standard Webhooks 1.0.0 has them. now: seconds since the epoch."""
    headers = {"webhook-id": name, "webhook-timestamp": str(now), "Idempotency-Key": name}
    if key is not None:
        digest = hmac.digest(key, f"{name}.{now}.".encode() + body, "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def request_of(preset: str, url: str, alert: Alert) -> tuple[str, bytes]:
    """The URL and the body in JSON."""
    url, content = PRESETS[preset](url, alert)
    return url, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _json(url: str, alert: Alert) -> tuple[str, Mapping[str, Any]]:
    fields = ("stream", "key", "t", "kind", "subject", "detail")
    return url, {
        "type": "driftline.alert",
        "id": alert_id(alert),
        "time": iso(alert.t),
        **{name: getattr(alert, name) for name in fields},
    }


def _slack(url: str, alert: Alert) -> tuple[str, Mapping[str, Any]]:
    return url, {"text": f"*{_escaped(_title(alert))}*\n{_escaped(alert.detail)}\n{iso(alert.t)}"}


def _ntfy(url: str, alert: Alert) -> tuple[str, Mapping[str, Any]]:
    """The JSON of ntfy goes to the server itself and names the topic."""
    parts = urlsplit(url)
    folder, _, topic = parts.path.rstrip("/").rpartition("/")
    content = {
        "topic": unquote(topic),
        "title": _title(alert),
        "message": f"{alert.detail}\n{iso(alert.t)}",
        "tags": ["warning", alert.kind],
        "priority": 4 if alert.kind in URGENT else 3,
    }
    return urlunsplit((parts.scheme, parts.netloc, f"{folder}/", "", "")), content


PRESETS: Final[Mapping[str, Callable[[str, Alert], tuple[str, Mapping[str, Any]]]]] = {
    "json": _json,
    "slack": _slack,
    "ntfy": _ntfy,
}


def _title(alert: Alert) -> str:
    where = "/".join(filter(None, (alert.stream, alert.key)))
    return f"{alert.kind}: {where}" + (f" ({alert.subject})" if alert.subject else "")


def _escaped(text: str) -> str:
    """As Slack wants it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
