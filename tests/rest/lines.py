"""How schemathesis sends what is text already."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/jsonl", "text/csv")
def as_it_is(context: Any, value: Any) -> bytes:
    return value.encode(errors="surrogatepass") if isinstance(value, str) else repr(value).encode()
