"""Ids of spans. What is done again after a crash has the same ids, as what it puts out has the same names."""

from hashlib import blake2b

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator


class NamedIds(IdGenerator):
    """Random ones, but for a span that was given a name before it starts. Spans start on one thread."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._random = RandomIdGenerator()
        self._next: int | None = None

    def name(self, *parts: str) -> None:
        """The id of the next span follows from these, and from the service."""
        digest = blake2b("\0".join((self._service, *parts)).encode(errors="surrogatepass"), digest_size=8).digest()
        self._next = int.from_bytes(digest) or 1

    def generate_span_id(self) -> int:
        named, self._next = self._next, None
        return self._random.generate_span_id() if named is None else named

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        return self._random.is_trace_id_random()
