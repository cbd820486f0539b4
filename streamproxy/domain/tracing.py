"""What a trace is to those who work under it: spans begin, call others, and end.

Without tracing (the default) a span is only the ``traceparent`` that came with the request and goes on to the
upstream, so that a trace of others does not end here. https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self, TypeAlias

from streamproxy.domain.streams import Usage

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# The format flavour, as the conventions ask: everything here speaks OpenAI's, by itself or as Azure spells it.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen-ai-provider-name
_PROVIDERS: Final = {"azure": "azure.ai.openai"}
_OPERATIONS: Final = {"/v1/embeddings": "embeddings", "/v1/images/generations": "generate_content"}


def provider(dialect: str) -> str:
    """``gen_ai.provider.name`` of an upstream that speaks *dialect*."""
    return _PROVIDERS.get(dialect, "openai")


def operation(endpoint: str) -> str:
    """``gen_ai.operation.name`` of one of our endpoints."""
    return _OPERATIONS.get(endpoint, "chat")


def usage_attributes(usage: Usage) -> Attributes:
    """What a span says of the tokens used."""
    return {"gen_ai.usage.input_tokens": usage.prompt_tokens, "gen_ai.usage.output_tokens": usage.completion_tokens}


class Span(Protocol):
    """One piece of work in a trace. Its attributes never hold content or credentials.

    *recorded* is false where nobody hears how it ends: what would be said of that need not be made.
    """

    recorded: ClassVar[bool]

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields by which whoever is called joins the trace."""

    def child(self, name: str, attributes: Attributes) -> Span:
        """A call that this work makes."""

    def end(self, attributes: Attributes, *, error: str | None = None) -> None:
        """It is over, in *error* (a code of ours) if there is one. A second end says nothing."""


class Tracer(Protocol):
    """Begins the span of a request.

    *recording* is false where spans only pass on the trace that a request came with: those of others need not be made.
    """

    recording: ClassVar[bool]

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """*headers* are the request's: they may name the trace it belongs to."""


@dataclass(frozen=True, slots=True)
class Untraced:
    """A span that nobody records."""

    headers: Mapping[str, str]
    recorded: ClassVar[bool] = False

    def child(self, name: str, attributes: Attributes) -> Self:  # noqa: ARG002  # the Protocol's names
        return self

    def end(self, attributes: Attributes, *, error: str | None = None) -> None:
        """Nobody records it."""


UNTRACED: Final = Untraced({})


class NoTracer:
    """Passes on the trace that a request came with, if it is one."""

    recording: ClassVar[bool] = False

    @staticmethod
    def request(name: str, headers: Mapping[str, str], attributes: Attributes) -> Untraced:  # noqa: ARG004
        trace = headers.get("traceparent")
        return Untraced({"traceparent": trace}) if trace and _TRACEPARENT.fullmatch(trace) else UNTRACED
