"""Serves an app on a free port of this machine, for clients that want a real one."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import httpx
import uvicorn
from fastapi import FastAPI

from driftline_cli.broker import free_port
from tests.security.authority import Authority


@asynccontextmanager
async def served(app: FastAPI, *, working: bool = True, authority: Authority | None = None) -> AsyncIterator[str]:
    """Gives the address, host and port, once the app answers. Without `working` its jobs are not run. authority: who
    signs its certificate; without one it answers by plain HTTP."""
    port, (certificate, key) = free_port(), authority.server() if authority else (None, None)
    lifespan: Literal["on", "off"] = "on" if working else "off"
    config = uvicorn.Config(
        app, port=port, log_config=None, lifespan=lifespan, ssl_certfile=certificate, ssl_keyfile=key
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    address = f"127.0.0.1:{port}"
    scheme, trusted = ("https", ssl.create_default_context(cafile=authority.file)) if authority else ("http", True)
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10, verify=trusted)) as client:
            (await client.get(f"{scheme}://{address}/livez")).raise_for_status()
        yield address
    finally:
        server.should_exit = True
        await task
