"""Settings of the process itself: where it listens, where it keeps things, who may sign in, what it logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from streamproxy.settings.fields import (
    Addresses,
    DatabaseUrl,
    HttpUrl,
    LimitsText,
    Origins,
    Place,
    RedisUrl,
    SecondsOrZero,
    SigningSecret,
    Text,
    Unset,
)

HIGHEST_PORT = 65_535


class Section(BaseModel):
    """One table of the settings file. Frozen; a name it does not have is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    """Where streamproxy listens, with how many processes, and where it keeps its files."""

    host: Text = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 or :: for every interface.")
    port: int = Field(default=8888, ge=1, le=HIGHEST_PORT, description="TCP port to listen on.")
    workers: int = Field(default=1, ge=1, le=256, description="Number of worker processes.")
    port_per_worker: bool = Field(
        default=False, description="Worker i listens on port + i, as nginx with one server line a worker wants it."
    )
    pin_workers: bool = Field(
        default=False,
        description="Each worker stays on one CPU, worker i on the i-th, for machines that do little else (Linux).",
    )
    unix_socket: Annotated[Place | None, Unset] = Field(
        default=None, description="Path of a unix socket to listen on instead of host and port."
    )
    drain_seconds: SecondsOrZero = Field(
        default=30, description="How long running streams may go on after SIGTERM before they are ended."
    )
    cors_origins: Origins = Field(
        default=(), description="Origins whose pages may call the API, comma-separated; * for any."
    )
    trusted_proxies: Addresses = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses of proxies whose X-Forwarded-For is believed, comma-separated.",
    )
    max_body_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=64 << 20,
        description="Longest request body in bytes; a longer one is answered 413.",
    )
    shortcuts: bool = Field(
        default=True,
        description="Relay events past the usual ways of Tornado and aiohttp; false for those ways, at several times "
        "the CPU time.",
    )
    data_dir: Place = Field(
        default=Path("data"), description="Folder for the database, the generated secret and sockets."
    )

    @model_validator(mode="after")
    def _ports_exist(self) -> Server:
        if self.port_per_worker and self.port + self.workers - 1 > HIGHEST_PORT:
            raise ValueError(f"port_per_worker needs ports up to {self.port + self.workers - 1}: choose a lower port")
        return self

    @field_validator("pin_workers")
    @classmethod
    def _can_pin(cls, value: bool) -> bool:  # noqa: FBT001 (pydantic's own signature)
        if value and not hasattr(os, "sched_setaffinity"):
            raise ValueError("needs Linux: leave it false here")
        return value


class Redis(Section):
    """Where sessions, limits and key states live."""

    url: Annotated[RedisUrl | None, Unset] = Field(
        default=None,
        description="redis, rediss, unix, redis+cluster, redis+sentinel or memory URL; unset means an embedded server.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    timeout_seconds: float = Field(
        default=0.25,
        ge=0.05,
        le=10,
        description="What a request waits for an answer of Redis before it goes on as without it; a Redis that pauses "
        "wants more.",
    )


class Database(Section):
    """Where users, history and usage live."""

    url: Annotated[DatabaseUrl | None, Unset] = Field(
        default=None,
        description="sqlite+aiosqlite or postgresql+asyncpg URL; unset means streamproxy.db in the data folder.",
        examples=["postgresql+asyncpg://streamproxy@127.0.0.1/streamproxy"],
    )
    pool_size: int = Field(
        default=5, ge=1, le=100, description="Connections to PostgreSQL that each worker keeps; SQLite needs none."
    )
    pool_overflow: int = Field(
        default=5, ge=0, le=100, description="Connections that each worker opens beyond them while all are busy."
    )


class Auth(Section):
    """How clients prove who they are."""

    secret: Annotated[SigningSecret | None, Unset] = Field(
        default=None,
        description="Signs bearers, at least 32 bytes; unset means one generated once and kept in the data folder.",
    )
    encryption_key: Annotated[SigningSecret | None, Unset] = Field(
        default=None,
        description="Encrypts provider keys in the database, at least 32 bytes; unset means derived from the secret.",
    )
    token_days: int = Field(default=30, ge=1, le=3650, description="Days that an issued bearer is valid.")
    cookie: str = Field(
        default="streamproxy",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Name of the cookie that the chat page signs in with.",
    )
    guest: Annotated[bool | None, Unset] = Field(
        default=None,
        description="Whether the chat page works without signing in; unset means only while no secret is configured.",
        examples=[False],
    )
    cache_seconds: SecondsOrZero = Field(
        default=2, description="How long a worker trusts what it knows of a credential; a revocation takes this long."
    )
    password_cost: Literal["rfc9106", "owasp"] = Field(
        default="rfc9106",
        description="What one hash of a password takes: rfc9106 64 MiB and some 150 ms of CPU, owasp 19 MiB and some "
        "25 ms. Kept passwords are hashed anew at their next sign-in.",
    )
    sign_in_failures: LimitsText = Field(
        default="20/5min", description="Wrong passwords an account; beyond that it waits. Right ones do not count."
    )
    sign_in_failures_per_address: LimitsText = Field(
        default="300/5min", description="Wrong passwords a client address, of all accounts together."
    )


class Log(Section):
    """What is logged, to standard error, and how."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = Field(default="INFO", description="The least important records that are logged.")
    format: Annotated[Literal["json", "text"] | None, Unset] = Field(
        default=None, description="json or text, one line a record; unset means text on a terminal and JSON elsewhere."
    )


class Telemetry(Section):
    """Where traces go. Metrics need nothing: ``GET /metrics``."""

    traces_endpoint: Annotated[HttpUrl | None, Unset] = Field(
        default=None,
        description="OTLP/HTTP address that spans are sent to (extra otel); unset means no traces.",
        examples=["http://127.0.0.1:4318/v1/traces"],
    )
    traces_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here which is recorded; who began a trace elsewhere has decided.",
    )
