"""GET /v1/models."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import Family, Json, Operation, answer, parameter, ref, struct

TAG: Final = "models"
_ERRORS = (401, 503)

_SCHEMAS: Final[Json] = {
    "Model": struct(
        {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": {"type": "string"},
        }
    ),
    "ModelList": struct({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}),
}

_OPERATIONS: Final = (
    Operation(
        method="get",
        path="/v1/models",
        id="listModels",
        summary="List the models that can be asked",
        tag=TAG,
        answers={200: answer("The list.", ref("ModelList"))},
        errors=_ERRORS,
    ),
    Operation(
        method="get",
        path="/v1/models/{model}",
        id="getModel",
        summary="Show one model",
        tag=TAG,
        parameters=(
            parameter(
                "path",
                "model",
                "Its id, which may contain slashes.",
                {"type": "string", "minLength": 1},
                example="demo",
            ),
        ),
        answers={200: answer("The model.", ref("Model"))},
        errors=(400, 401, 404, 503),
    ),
)

FAMILY: Final = Family(TAG, "Which models there are.", _OPERATIONS, _SCHEMAS)
