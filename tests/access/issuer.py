"""A small OpenID Connect issuer: discovery, keys that can be replaced, and tokens signed by them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI, HTTPException
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.serving import served

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """One that people sign in at. away: whether it does not answer."""

    def __init__(self) -> None:
        self.url = ""
        self.away = False
        self.reads = 0
        self.keys: dict[str, tuple[str, Key]] = {}
        self.add("first", "RS256")

    def add(self, kid: str, algorithm: str) -> None:
        is_rsa = algorithm.startswith(("RS", "PS"))
        key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        self.keys[kid] = (algorithm, key)

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = time.time()
        usual = {"iss": self.url, "aud": "driftline", "sub": "ada", "iat": now, "exp": now + 300, "roles": ["operator"]}
        return {name: value for name, value in (usual | changed).items() if value is not None}

    def token(self, kid: str = "first", **changed: Any) -> str:
        algorithm, key = self.keys[kid]
        return jwt.encode(self.claims(**changed), key, algorithm, headers={"kid": kid})

    def published(self) -> list[dict[str, Any]]:
        return [self._published(kid, *signing) for kid, signing in self.keys.items()]

    def _published(self, kid: str, algorithm: str, key: Key) -> dict[str, Any]:
        public = key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            body = RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            body = ECAlgorithm.to_jwk(public, as_dict=True)
        return {**body, "kid": kid, "alg": algorithm, "use": "sig"}

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/livez")
        async def livez() -> str:
            return "ok"

        @app.get("/.well-known/openid-configuration")
        async def discovery() -> dict[str, str]:
            if self.away:
                raise HTTPException(503)
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

        @app.get("/keys")
        async def keys() -> dict[str, Any]:
            self.reads += 1
            return {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"}, *self.published()]}

        return app


@asynccontextmanager
async def running() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    async with served(issuer.app()) as address:
        issuer.url = f"http://{address}"
        yield issuer
