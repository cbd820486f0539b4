"""Settings of what flows through: limits, sessions, models, streams and the callers we inherited."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from streamproxy.settings.fields import (
    LimitsText,
    Listed,
    Prices,
    PriceText,
    Seconds,
    Status,
    Text,
    Unset,
    Windows,
    Zone,
)
from streamproxy.settings.prices import WELL_KNOWN as KNOWN_PRICES
from streamproxy.settings.process import Section
from streamproxy.settings.windows import WELL_KNOWN


class Limits(Section):
    """What one principal may use. Written N/W, comma-separated: 60/min, 3/30s, 100/24h, 20/calendar-day."""

    requests: LimitsText = Field(default="60/min", description="Limits on requests; empty for none.")
    tokens: LimitsText = Field(default="", description="Limits on tokens, prompt and answer together; empty for none.")
    concurrent_streams: int = Field(
        default=0, ge=0, le=100_000, description="Streams running at once; 0 for any number."
    )
    timezone: Zone = Field(default="UTC", description="Zone in which a calendar day begins.")
    on_redis_down: Literal["local", "closed", "open"] = Field(
        default="local",
        description="While Redis is away: local counts each worker's share, closed refuses, open admits everything.",
    )
    reply_reserve_tokens: int = Field(
        default=1024, ge=1, le=1_000_000, description="Tokens reserved for an answer whose request names no maximum."
    )


class Sessions(Section):
    """The context that a conversation keeps."""

    ttl_seconds: int = Field(
        default=1800, ge=1, le=604_800, description="Seconds after the last turn until it is forgotten."
    )
    max_tokens: int = Field(
        default=8192,
        ge=256,
        le=10_000_000,
        description="Tokens of earlier turns that are kept and may go into a prompt.",
    )
    max_messages: int = Field(
        default=200, ge=2, le=10_000, description="Messages that are kept; the oldest turns leave first."
    )
    wait_seconds: Seconds = Field(default=30, description="How long a turn waits for an earlier one of its session.")
    reply_reserve_tokens: int = Field(
        default=1024, ge=1, le=1_000_000, description="Tokens of a model's window kept free for the answer."
    )
    rebuild: bool = Field(
        default=True, description="Whether a session that Redis lost is rebuilt from the lasting history."
    )


class ModelTable(Section):
    """How much context each model takes, and who draws."""

    windows: Annotated[Windows, AfterValidator(lambda given: {**WELL_KNOWN, **given})] = Field(
        default_factory=lambda: dict(WELL_KNOWN),
        description="Context window in tokens by model name, added to the well-known ones.",
        examples=["my-model=32768"],
    )
    default_window: int = Field(
        default=8192, ge=256, le=100_000_000, description="Context window of a model that the table does not have."
    )
    default_image_model: Text = Field(
        default="dall-e-2", description="Who draws when a request for pictures names no model."
    )
    prices: Annotated[Prices, AfterValidator(lambda given: {**KNOWN_PRICES, **given})] = Field(
        default_factory=lambda: dict(KNOWN_PRICES),
        description="Prices by model name, input/cached input/output in USD per million tokens (and /picture in USD), "
        "added to the well-known ones.",
        examples=["my-model=2.50/1.25/10"],
    )
    default_price: PriceText = Field(
        default="0/0/0", description="Price of a model that the table does not have, written like the others."
    )


class Streams(Section):
    """How answers are delivered."""

    heartbeat_seconds: Seconds = Field(
        default=10, description="Silence after which a comment line keeps the connection alive."
    )
    open_after_seconds: Seconds = Field(
        default=10,
        description="Silence of the upstream after which the answer is opened, so that heartbeats can begin.",
    )
    replay_seconds: Seconds = Field(
        default=300, description="How long a finished resumable stream can still be replayed."
    )
    lease_seconds: float = Field(
        default=6,
        ge=1,
        le=60,
        description="A worker that has not renewed its lease on a resumable stream for so long is taken for dead.",
    )
    max_bytes: int = Field(default=2_097_152, ge=65_536, le=1 << 30, description="Longest answer in bytes.")
    on_disconnect: Literal["finish", "cancel"] = Field(
        default="finish", description="What becomes of a resumable stream that everybody has left."
    )


Family: TypeAlias = Literal["message", "chatapi", "simple_chat", "pro"]


class Compat(Section):
    """The interfaces of the systems that streamproxy replaces."""

    endpoints: Annotated[tuple[Family, ...], Listed] = Field(
        default=("message", "chatapi", "simple_chat", "pro"), description="Families that are served, comma-separated."
    )
    simple_chat_limits: LimitsText = Field(default="3/30s,20/calendar-day", description="Limits of the simple chat.")
    simple_chat_limit_status: Annotated[Status | None, Unset] = Field(
        default=None,
        description="HTTP status of a refusal there; unset means 429, the original had 401.",
        examples=[401],
    )
    simple_chat_model: Annotated[Text | None, Unset] = Field(
        default=None,
        description="Model of the simple chat when a request names none; unset means gpt-3.5-turbo, where no upstream "
        "serves it the first that one names.",
        examples=["gpt-4o-mini"],
    )
    simple_chat_registration: bool = Field(
        default=True, description="Whether anybody may make an account with POST /user/, as in the original."
    )
    simple_chat_advanced_prompt: Text = Field(
        default="First attend to the writer's feelings: name them in a sentence or two, kindly and without judging. "
        "Then answer what was asked, in the writer's own language.",
        description="System prompt of /llm/message/advanced.",
    )
    message_trust_openid: bool = Field(
        default=False,
        description="Whether /message takes the openid in the body for a credential, as the original did.",
    )
    message_status: Annotated[Status | None, Unset] = Field(
        default=None, description="HTTP status of every error of /message; unset means the honest one.", examples=[200]
    )
    pro_model: Annotated[Text | None, Unset] = Field(
        default=None,
        description="Model of /pro; unset means the one that simple_chat_model would mean if it were unset.",
        examples=["gpt-4o-mini"],
    )
    message_model: Annotated[Text | None, Unset] = Field(
        default=None,
        description="Model of /message; unset means the one that simple_chat_model would mean if it were unset.",
        examples=["gpt-4o-mini"],
    )
    message_temperature: float = Field(default=0.8, ge=0, le=2, description="Temperature of its answers.")
    message_max_tokens: int = Field(default=2048, ge=1, le=1_000_000, description="Longest answer there, in tokens.")
    message_seconds: Seconds = Field(default=120, description="Longest wait for an answer there.")
    pro_passthrough_keys: bool = Field(
        default=False, description="Whether /pro takes a provider's key as apiKey and uses it for that call."
    )
    chatapi_daily_limit: int = Field(
        default=10, ge=0, le=1_000_000, description="Answers of /api a user and day; 0 for any number."
    )
    chatapi_model: Annotated[Text | None, Unset] = Field(
        default=None,
        description="Model of /api; unset means the one that simple_chat_model would mean if it were unset.",
        examples=["gpt-4o-mini"],
    )
    chatapi_longest_query: int = Field(
        default=2000, ge=1, le=16_000, description="Longest question there, in characters; a longer one is refused."
    )
