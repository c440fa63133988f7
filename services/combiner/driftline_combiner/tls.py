"""How the other services' certificates are checked."""

import ssl
from collections.abc import Iterable

import httpx


def tls_for(urls: Iterable[str]) -> ssl.SSLContext:
    """What clients of these check certificates by, to be shared by them. To load the authorities takes a Pi longer than
    all else at the start, so that is done only where somebody is reached by HTTPS; otherwise nobody is trusted."""
    if any(httpx.URL(url).scheme == "https" for url in urls):
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
