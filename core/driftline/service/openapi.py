"""What FastAPI does not know of an app's description: its errors' one shape, and who needs the token."""

from typing import Any

from fastapi import FastAPI

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
    "503": ("A required part is unavailable; the same request may succeed later.", "the broker is away"),
}
"""By status what it means where a route says nothing of its own, and an example of its `detail`."""


def complete(app: FastAPI) -> None:
    """Gives every error of `app`'s description its body, and every operation that may answer 401 its token."""
    generate = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate())
        return generate()

    app.openapi = completed  # type: ignore[method-assign]


def _complete(description: dict[str, Any]) -> None:
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in GENERATED:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs") | {PROBLEM: problem}
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    for operations in description["paths"].values():
        for operation in operations.values():
            _complete_operation(operation)


def _complete_operation(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    if "401" in answers:
        operation["security"] = [{BEARER: []}]
    if "requestBody" in operation and "422" in answers:
        answers.setdefault("400", {})  # what is no JSON, or not in UTF-8, FastAPI refuses before it looks at its form
    for status, answer in answers.items():
        if status in MEANINGS and _unsaid(answer):
            meaning, detail = MEANINGS[status]
            given = answer.get("description", "")
            body = {"schema": {"$ref": REFERENCE}, "example": _example(int(status), detail)}
            answer |= {"description": given if given.endswith(".") else meaning, "content": {MEDIA_TYPE: body}}
        elif status >= "400" and _is_problem(answer):
            answer["content"][MEDIA_TYPE] = answer["content"].pop(JSON)


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
