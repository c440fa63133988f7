"""A client of one service, whichever it is: every call of it goes to the same address."""

from driftline_client import AsyncClient


def client_of(url: str, token: str | None, *, timeout: float) -> AsyncClient:
    """It tries nothing again. timeout: seconds for one answer."""
    return AsyncClient(ingest=url, inference=url, combiner=url, trainer=url, token=token, timeout=timeout, patience=0)
