"""What FastAPI does not know of an app's description: its errors' one shape, and who needs the token."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from driftline.service.access.roles import Role
from driftline.service.problems import BLANK, MEDIA_TYPE, Problem, title_of

GENERATED = ("HTTPValidationError", "ValidationError")
PROBLEM = Problem.__name__
JSON = "application/json"
REFERENCE = f"#/components/schemas/{PROBLEM}"
BEARER = "bearer"
MEANINGS = {
    "400": ("The body is broken.", "found no JSON at byte 12"),
    "401": (
        "The token is missing or wrong.",
        "expected the header `Authorization: Bearer TOKEN` with this service's token",
    ),
    "403": ("This device may not do that.", "an edge may not put models/attic/batch/current.json"),
    "404": ("There is no such thing.", "found no stream 'attic', expected one of ['outdoor-temperature']"),
    "409": ("Somebody else was there first.", "there is no version to go back to"),
    "412": ("The object is another one by now.", "found etag 1f, expected 2a"),
    "413": ("The body is too large.", "found more than 1048576 bytes, expected at most as many in one request"),
    "415": ("The content type is unknown.", "found text/html, expected application/json"),
    "422": ("The request is not as expected.", "the request is not as expected"),
    "429": (
        "Too many wrong tokens came from this address: try again after `Retry-After`.",
        "found too many wrong tokens from 192.0.2.1, expected none for another 3 s",
    ),
    "503": ("A required part is unavailable; the same request may succeed later.", "the broker is away"),
}
"""By status what it means where a route says nothing of its own, and an example of its `detail`."""


Needing = Callable[[str, str], Role | None]
"""By method and path of an operation the role that it needs; None for none."""


def complete(app: FastAPI, needing: Needing) -> None:
    """Gives every error of `app`'s description its body, every operation that needs a role what it answers to callers
    without it, and every one that may answer 401 its token."""
    generate = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate(), needing)
        return generate()

    app.openapi = completed  # type: ignore[method-assign]


def _complete(description: dict[str, Any], needing: Needing) -> None:
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in GENERATED:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {PROBLEM: problem}
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            _refuse(operation["responses"], needing(method.upper(), path))
            _complete_operation(operation)


def _refuse(answers: dict[str, Any], needed: Role | None) -> None:
    """Adds what a caller gets who has not the role that is needed."""
    if needed is None:
        return
    answers |= {status: answers.get(status, {}) for status in ("401", "429")}
    if needed > Role.VIEWER:
        meaning, detail = f"The token's role is less than {needed}.", f"found 'grafana', a viewer, expected a {needed}"
        answers["403"] = {"description": meaning, "content": _body(403, detail)}


def _complete_operation(operation: dict[str, Any]) -> None:
    answers = operation["responses"] = dict(sorted(operation["responses"].items()))
    if "401" in answers:
        operation["security"] = [{BEARER: []}]
    if "requestBody" in operation and "422" in answers:
        answers.setdefault("400", {})  # what is no JSON, or not in UTF-8, FastAPI refuses before it looks at its form
    for status, answer in answers.items():
        if status in MEANINGS and _unsaid(answer):
            meaning, detail = MEANINGS[status]
            given = answer.get("description", "")
            described = given if given.endswith(".") else meaning
            answer |= {"description": described, "content": _body(int(status), detail)}
        elif status >= "400" and _is_problem(answer):
            answer["content"][MEDIA_TYPE] = answer["content"].pop(JSON)


def _body(status: int, detail: str) -> dict[str, Any]:
    return {MEDIA_TYPE: {"schema": {"$ref": REFERENCE}, "example": _example(status, detail)}}


def _example(status: int, detail: str) -> dict[str, Any]:
    return {"type": BLANK, "title": title_of(status), "status": status, "detail": detail, "instance": "/v1/streams"}


def _schema(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer.get("content", {}).get(JSON, {}).get("schema", {})
    return schema


def _is_problem(answer: dict[str, Any]) -> bool:
    """Whether a route has said so itself: of one shape, or of several."""
    schema = _schema(answer)
    return any(part.get("$ref") == REFERENCE for part in (schema, *schema.get("anyOf", ())))


def _unsaid(answer: dict[str, Any]) -> bool:
    """Whether a route leaves the body to us: it names none, or FastAPI named its own."""
    schema = _schema(answer)
    return not schema or schema.get("$ref", "").endswith(GENERATED)
