"""One operation of the document, and the small pieces that all of them are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

JSON = "application/json"
EVENTS = "text/event-stream"
REQUEST_ID: Json = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. *answers* are good ones by status; *errors* are statuses of errors, whose body is the
    schema *error*. *public* ones need no credential."""

    method: str
    path: str
    id: str
    summary: str
    tag: str
    answers: Mapping[int, Json]
    description: str = ""
    parameters: Sequence[Json] = ()
    body: Json | None = None
    errors: Sequence[int] = ()
    error: str = "Error"
    public: bool = False
    security: Sequence[Json] | None = None

    def rendered(self) -> Json:
        """The Operation Object."""
        answers = {str(status): _with_request_id(answer) for status, answer in self.answers.items()}
        failures = {str(status): {"$ref": f"#/components/responses/{self.error}{status}"} for status in self.errors}
        optional = {
            "description": self.description,
            "parameters": [*self.parameters],
            "requestBody": self.body,
            "security": [] if self.public else self.security,
        }
        named = {"operationId": self.id, "summary": self.summary, "tags": [self.tag]}
        given = {name: value for name, value in optional.items() if value or (name == "security" and self.public)}
        return {**named, **given, "responses": {**answers, **failures}}

    @property
    def sample(self) -> str:
        """A path that a route must match: the template with the examples of its parameters."""
        return self.path.format_map({p["name"]: p["example"] for p in self.parameters if p["in"] == "path"})


@dataclass(frozen=True, slots=True)
class Family:
    """What a module contributes."""

    tag: str
    description: str
    operations: Sequence[Operation]
    schemas: Mapping[str, Json] = field(default_factory=dict)


def _with_request_id(answer: Json) -> Json:
    return {**answer, "headers": {**REQUEST_ID, **answer.get("headers", {})}}


def error_response(status: int, schema: str) -> Json:
    """The Response Object of an error."""
    headers: Json = dict(REQUEST_ID)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"const": "Bearer"}}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = {JSON: {"schema": ref(schema)}}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": content}


def ref(name: str) -> Json:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(description: str, schema: Json, *, example: object = None, **more: Any) -> Json:
    """A Response Object with a JSON body; *more* are its headers and links."""
    media = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {JSON: media}, **more}


def empty(description: str) -> Json:
    """A Response Object without a body."""
    return {"description": description}


def events(description: str, *, example: str | None = None, **more: Any) -> Json:
    """A Response Object of server-sent events; the schema is that of one event, as OpenAPI 3.2 will have it."""
    media = {"schema": ref("Event")} if example is None else {"schema": ref("Event"), "example": example}
    return {"description": description, "content": {EVENTS: media}, **more}


def either(one: Json, other: Json) -> Json:
    """A Response Object with the contents of both; everything else is that of *one*."""
    return {**one, "content": {**one["content"], **other["content"]}}


def links(name: str, value: str, *operations: str) -> Json:
    """Links that hand *value* (a runtime expression) on as the parameter *name*."""
    return {to: {"operationId": to, "parameters": {name: value}} for to in operations}


def json_body(schema: Json, *, example: object) -> Json:
    """A Request Body Object."""
    return {"required": True, "content": {JSON: {"schema": schema, "example": example}}}


def parameter(place: str, name: str, description: str, schema: Json, **more: Any) -> Json:
    """A Parameter Object in the *place* ``query``, ``header`` or ``path``; *more* such as ``example``."""
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, **required, "schema": schema, **more}


def struct(properties: Json, *, required: Sequence[str] | None = None, **more: Any) -> Json:
    """A schema of an object, all of whose *properties* are required unless some are named."""
    needed = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, **({"required": needed} if needed else {}), **more}


def or_null(kind: str, **bounds: Any) -> Json:
    """A schema of a *kind* that may be null."""
    return {"type": [kind, "null"], **bounds}
