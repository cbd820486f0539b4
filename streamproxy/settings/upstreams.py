"""Settings of the providers whose answers are relayed: the default one and those of the settings file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from streamproxy.settings.fields import DialectName, HttpUrl, Keys, LimitsText, Models, Name, Seconds, Unset
from streamproxy.settings.quirks import QuirkFields

OPENAI_URL = "https://api.openai.com/v1"


class UpstreamEntry(QuirkFields):
    """One provider endpoint, as a ``[[upstreams]]`` table of the settings file describes it."""

    name: Name = Field(description="What logs and metrics call this upstream; unique.")
    dialect: DialectName = Field(default="openai", description="How it spells requests, events and errors.")
    base_url: HttpUrl = Field(description="Where its API begins.", examples=[OPENAI_URL])
    api_keys: Keys = Field(default=(), description="Its API keys, comma-separated.")
    models: Models = Field(
        default_factory=lambda: {"*": "*"},
        description="The models it serves, a list of names, or a table of name for clients = name at the provider.",
        examples=["gpt-4o,gpt-4o-mini"],
    )
    priority: int = Field(default=0, ge=0, le=1000, description="Upstreams with the lowest number are asked first.")
    weight: int = Field(default=1, ge=1, le=1000, description="Its share among upstreams of one priority.")
    key_requests: LimitsText = Field(
        default="",
        description="Limits on requests of each of its keys, as in [limits]; empty for none.",
        examples=["500/min"],
    )
    key_tokens: LimitsText = Field(
        default="", description="Limits on tokens of each of its keys; empty for none.", examples=["200000/min"]
    )
    key_streams: int = Field(
        default=0, ge=0, le=100_000, description="Answers that run at once by each of its keys; 0 for any number."
    )


class Upstream(QuirkFields):
    """The default upstream, and how patient streamproxy is with every upstream. Times are in seconds."""

    name: Name = Field(default="default", description="What logs and metrics call the default upstream.")
    dialect: DialectName = Field(default="openai", description="How it spells requests, events and errors.")
    base_url: Annotated[HttpUrl | None, Unset] = Field(
        default=None,
        description="Where its API begins; OPENAI_BASE_URL when unset, OpenAI itself when there are only keys.",
        examples=[OPENAI_URL],
    )
    api_keys: Keys = Field(default=(), description="Its API keys, comma-separated; OPENAI_API_KEY when unset.")
    models: Models = Field(
        default_factory=lambda: {"*": "*"},
        description="The models it serves, comma-separated; * for every model.",
        examples=["gpt-4o,gpt-4o-mini"],
    )
    key_requests: LimitsText = Field(
        default="",
        description="Limits on requests of each of its keys, as in [limits]; empty for none.",
        examples=["500/min"],
    )
    key_tokens: LimitsText = Field(
        default="", description="Limits on tokens of each of its keys; empty for none.", examples=["200000/min"]
    )
    key_streams: int = Field(
        default=0, ge=0, le=100_000, description="Answers that run at once by each of its keys; 0 for any number."
    )
    connect_timeout: Seconds = Field(default=5, description="Longest wait for a connection.")
    first_event_timeout: Seconds = Field(default=120, description="Longest wait for the first event of an answer.")
    idle_timeout: Seconds = Field(default=120, description="Longest silence inside an answer.")
    total_timeout: Seconds = Field(default=600, description="Longest duration of one answer.")
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="How many keys one request may try before its first event."
    )
    retry_timeouts: bool = Field(
        default=False,
        description="Whether another key is tried after first_event_timeout: the silent one may bill its answer too.",
    )
    probe_seconds: Seconds = Field(
        default=300, description="How often a disabled key is asked whether it lives again, by listing its models."
    )
