"""A small OpenID Connect issuer: discovery, keys that can be replaced, tokens signed by them, and sign-in by code."""

import base64
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.serving import served

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


CLIENT = "driftline-page"
SECRET = "a-secret:100%+"  # noqa: S105 - of a client that there is only here


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """One for all issuers, since making one takes long."""
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Grant:
    """What a code stands for."""

    redirect: str
    challenge: str
    nonce: str


class Issuer:
    """One that people sign in at. away: whether it does not answer; person: what it says of whoever signs in, None
    where they refuse; secret: of its client, None for a public one."""

    def __init__(self) -> None:
        self.url = ""
        self.away = False
        self.reads = 0
        self.person: dict[str, Any] | None = {}
        self.secret: str | None = None
        self.methods: list[str] | None = None
        self.redirects: set[str] = set()
        self.grants: dict[str, Grant] = {}
        self.keys: dict[str, tuple[str, Key]] = {}
        self.add("first", "RS256")

    @property
    def host(self) -> str:
        return "127.0.0.1"

    def add(self, kid: str, algorithm: str) -> None:
        is_rsa = algorithm.startswith(("RS", "PS"))
        self.keys[kid] = (algorithm, rsa_key() if is_rsa else ec.generate_private_key(ec.SECP256R1()))

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

    def code_for(self, asked: Mapping[str, str]) -> str:
        """As RFC 7636 and OpenID Connect Core want it asked for. Raises HTTPException."""
        is_known = asked["client_id"] == CLIENT and asked["redirect_uri"] in self.redirects
        is_whole = asked["response_type"] == "code" and "openid" in asked["scope"].split()
        if not is_known or not is_whole or asked["code_challenge_method"] != "S256" or len(asked["state"]) < 22:
            raise HTTPException(400)
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(asked["redirect_uri"], asked["code_challenge"], asked["nonce"])
        return code

    def is_client(self, form: Mapping[str, str], authorization: str) -> bool:
        if self.secret is None:
            return form.get("client_id") == CLIENT
        if self.methods == ["client_secret_post"]:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, self.secret)
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return [unquote_plus(part) for part in given.split(":")] == [CLIENT, self.secret]

    def id_token(self, form: Mapping[str, str]) -> str | None:
        """None for a code that is none, or was used before, or is of another browser."""
        grant = self.grants.pop(form["code"], None)
        verifier = sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        if grant is None or (grant.redirect, grant.challenge) != (form["redirect_uri"], challenge):
            return None
        return self.token(**{"aud": CLIENT, "nonce": grant.nonce, **(self.person or {})})

    def discovered(self) -> dict[str, Any]:
        endpoints = {
            "authorization_endpoint": f"{self.url}/authorize?theme=dark",
            "token_endpoint": f"{self.url}/token",
        }
        methods = {"token_endpoint_auth_methods_supported": self.methods} if self.methods is not None else {}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **endpoints, **methods}

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/authorize")
        async def authorize(request: Request) -> RedirectResponse:
            asked = request.query_params
            said = {"error": "access_denied"} if self.person is None else {"code": self.code_for(asked)}
            answer = urlencode({**said, "state": asked["state"], "iss": self.url})
            return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 303)

        @app.post("/token")
        async def token(request: Request) -> Response:
            form = {name: value[0] for name, value in parse_qs((await request.body()).decode()).items()}
            if self.away:
                raise HTTPException(503)
            if not self.is_client(form, request.headers.get("authorization", "")):
                return JSONResponse({"error": "invalid_client"}, 401)
            signed = self.id_token(form)
            if signed is None:
                return JSONResponse({"error": "invalid_grant"}, 400)
            return JSONResponse({"access_token": "opaque", "token_type": "Bearer", "id_token": signed})

        @app.get("/livez")
        async def livez() -> str:
            return "ok"

        @app.get("/.well-known/openid-configuration")
        async def discovery() -> dict[str, Any]:
            if self.away:
                raise HTTPException(503)
            return self.discovered()

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
