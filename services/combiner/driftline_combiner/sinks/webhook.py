"""The webhook sink: each alert as a request by HTTP.

What a person can correct (no access, no such address) is sent again until it is corrected. A message that the other
side can't read is set aside, if others were taken: otherwise all of them are refused, and the settings are wrong.
"""

import time
from collections.abc import Callable, Sequence
from typing import Self

import httpx

from driftline.errors import InvalidInput
from driftline.messages import ALERTS, Alert
from driftline_combiner.sinks.alert_requests import alert_id, request_of, signed_headers, signing_key
from driftline_combiner.sinks.http_client import no_answer, open_client, retry_after
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable, Unsendable
from driftline_combiner.sinks.secret_files import read_secret
from driftline_combiner.sinks.settings import WebhookSection, http_url

GIVEN_UP_AFTER_S = 24 * 3600.0
"""After which messages are set aside that an endpoint can't read, although it has never taken one."""
SHOWN = 200
"""Letters of an answer."""
UNREADABLE = frozenset({400, 413, 414, 415, 422})
LATER = frozenset({408, 425, 429})
REMEDIES = {
    401: "correct token_file, or the URL",
    403: "correct token_file, or the URL",
    404: "correct the URL: nothing listens at this one",
    410: "correct the URL: this one was closed",
}


class WebhookSink:
    """See `driftline_combiner.sinks.port.Sink`. One request an alert, in order; of a batch that comes again only the
    rest is sent."""

    topic = ALERTS
    batch_limit = 50

    def __init__(
        self,
        section: WebhookSection,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        self._clock = clock
        self._monotonic = monotonic
        self._client: httpx.AsyncClient | None = None
        self._judged: dict[str, str | None] = {}
        """Of the batch under way, by name of an alert why it is set aside; None where it was taken."""
        self._has_taken = False
        self._unread_since: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    def takes(self, alert: Alert) -> bool:
        return not self._section.kinds or alert.kind in self._section.kinds

    async def send(self, batch: Sequence[Alert]) -> Sequence[Unsendable]:
        names = [alert_id(alert) for alert in batch]
        for name, alert in zip(names, batch, strict=True):
            if name not in self._judged:
                self._judged[name] = self._judge(await self._post(name, alert))
        judged, self._judged = self._judged, {}
        return [Unsendable(index, reason) for index, name in enumerate(names) if (reason := judged[name]) is not None]

    async def _post(self, name: str, alert: Alert) -> httpx.Response:
        url, body = request_of(self._section.preset, self._url(), alert)
        headers = signed_headers(name, int(self._clock()), body, self._key())
        if (token := read_secret(self._section.token_file)) is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            if self._client is None:
                self._client = await open_client(self._section.ca_file)
            return await self._client.post(url, content=body, headers={**headers, "Content-Type": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from error

    def _judge(self, answer: httpx.Response) -> str | None:
        """Why a message is set aside; None where it was taken. Raises SinkUnavailable and SinkRefused."""
        if answer.is_success:
            self._has_taken, self._unread_since = True, None
            return None
        status, reason = answer.status_code, f"it answered {answer.status_code}: {answer.text[:SHOWN].strip()}"
        if answer.is_server_error or status in LATER:
            raise SinkUnavailable(reason, retry_after(answer, self._clock()))
        if status not in UNREADABLE:
            raise SinkRefused(reason, REMEDIES.get(status, "correct the URL"))
        if not self._has_taken and not self._is_given_up():
            raise SinkRefused(reason, f"correct the URL or the preset, which is {self._section.preset!r}")
        return reason

    def _is_given_up(self) -> bool:
        now = self._monotonic()
        if self._unread_since is None:
            self._unread_since = now
        return now - self._unread_since >= GIVEN_UP_AFTER_S

    def _url(self) -> str:
        if self._section.url is not None:
            return self._section.url
        try:
            return http_url(read_secret(self._section.url_file) or "")
        except ValueError as error:
            # The file's content is a secret.
            raise SinkRefused(f"{self._section.url_file}: {error}", "correct the URL in that file") from None

    def _key(self) -> bytes | None:
        secret = read_secret(self._section.secret_file)
        try:
            return None if secret is None else signing_key(secret)
        except InvalidInput as error:
            remedy = f"write such a secret into {self._section.secret_file}"
            raise SinkRefused(f"{self._section.secret_file}: {error}", remedy) from None
