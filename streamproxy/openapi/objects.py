"""POST /v1/images/generations and /v1/embeddings: passed on, so unknown fields are legal here too."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.chat import ANSWERING_ERRORS, MODEL, STREAM_HEADERS
from streamproxy.openapi.operation import Family, Json, Operation, answer, json_body, or_null, ref, struct
from streamproxy.wire.plain import MAX_DIMENSIONS, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_PICTURES, MAX_PROMPT

TAG: Final = "images and embeddings"
_TOKENS: Final[Json] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_INPUT_TOKENS,
    "items": {"type": "integer", "minimum": 0},
}
_TEXT: Final[Json] = {"type": "string", "minLength": 1}
_LIST: Final[Json] = struct(
    {"data": {"type": "array", "items": {"type": "object"}}}, description="The upstream's answer as it came."
)

_SCHEMAS: Final[Json] = {
    "ImageRequest": struct(
        {
            "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_PROMPT},
            "model": {"anyOf": [MODEL, {"type": "null"}]},
            "n": or_null("integer", minimum=1, maximum=MAX_PICTURES),
            "size": or_null("string", pattern="^([1-9][0-9]{1,3}x[1-9][0-9]{1,3}|auto)$"),
            "response_format": {"enum": ["url", "b64_json", None]},
            "stream": {"enum": [False, None]},
        },
        required=["prompt"],
    ),
    "EmbeddingRequest": struct(
        {
            "model": MODEL,
            "input": {
                "description": f"A text, texts, tokens or lists of tokens; {MAX_INPUT_TOKENS} tokens at most.",
                "anyOf": [
                    _TEXT,
                    {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TEXT},
                    _TOKENS,
                    {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": _TOKENS},
                ],
            },
            "dimensions": or_null("integer", minimum=1, maximum=MAX_DIMENSIONS),
            "encoding_format": {"enum": ["float", "base64", None]},
        },
        required=["model", "input"],
    ),
    "ImageList": {**_LIST, "properties": {**_LIST["properties"], "created": {"type": "integer"}}},
    "EmbeddingList": _LIST,
}

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/v1/images/generations",
        id="createImage",
        summary="Draw pictures",
        tag=TAG,
        body=json_body(ref("ImageRequest"), example={"prompt": "a lighthouse at dusk", "size": "256x256"}),
        answers={200: answer("The pictures.", ref("ImageList"), headers=STREAM_HEADERS)},
        errors=ANSWERING_ERRORS,
    ),
    Operation(
        method="post",
        path="/v1/embeddings",
        id="createEmbedding",
        summary="Turn texts into vectors",
        tag=TAG,
        body=json_body(ref("EmbeddingRequest"), example={"model": "demo", "input": "hello"}),
        answers={200: answer("The vectors.", ref("EmbeddingList"), headers=STREAM_HEADERS)},
        errors=ANSWERING_ERRORS,
    ),
)

FAMILY: Final = Family(TAG, "Pictures and vectors, as OpenAI's clients ask for them.", _OPERATIONS, _SCHEMAS)
