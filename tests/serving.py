"""Serves an app on a free port of this machine, for clients that want a real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from driftline_cli.broker import free_port


@asynccontextmanager
async def served(app: FastAPI, *, working: bool = True) -> AsyncIterator[str]:
    """Gives the address, host and port, once the app answers. Without `working` its jobs are not run."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on" if working else "off"))
    task = asyncio.create_task(server.serve())
    address = f"127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as client:
            (await client.get(f"http://{address}/livez")).raise_for_status()
        yield address
    finally:
        server.should_exit = True
        await task
