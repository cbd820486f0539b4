"""All settings as one frozen value, and what follows from several of them together."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamproxy.settings.moderation import Moderation
from streamproxy.settings.process import Auth, Database, Log, Redis, Server, Telemetry
from streamproxy.settings.traffic import Compat, Limits, ModelTable, Sessions, Streams
from streamproxy.settings.upstreams import OPENAI_URL, Upstream, UpstreamEntry


class Settings(BaseSettings):
    """Everything that can be set. ``load`` fills it; ``Settings()`` is the defaults, whatever the environment."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    server: Server = Server()
    redis: Redis = Redis()
    database: Database = Database()
    auth: Auth = Auth()
    upstream: Upstream = Upstream()
    upstreams: tuple[UpstreamEntry, ...] = Field(
        default=(), description="More upstreams, each a table of the settings file."
    )
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    models: ModelTable = ModelTable()
    streams: Streams = Streams()
    moderation: Moderation = Moderation()
    compat: Compat = Compat()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the names are pydantic-settings')
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: ``load`` passes the sources, in their order."""
        return (init_settings,)

    @model_validator(mode="after")
    def _upstreams_differ(self) -> Settings:
        names = [upstream.name for upstream in self.all_upstreams]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two upstreams have the name {', '.join(twice)}: give each its own")
        return self

    @property
    def all_upstreams(self) -> tuple[UpstreamEntry, ...]:
        """The default upstream, when it is configured, and the others. Empty means: the demo model."""
        default = self.upstream
        if default.base_url is None and not default.api_keys:
            return self.upstreams
        return (self.default_upstream, *self.upstreams)

    @property
    def default_upstream(self) -> UpstreamEntry:
        """The default upstream, configured or not: OpenAI itself where no base_url is set."""
        default = self.upstream
        shared = UpstreamEntry.model_fields.keys() & type(default).model_fields.keys() - {"base_url"}
        return UpstreamEntry(base_url=default.base_url or OPENAI_URL, **{n: getattr(default, n) for n in shared})

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, with its password. For opening the database, not for showing."""
        if self.database.url is not None:
            return self.database.url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.server.data_dir / 'streamproxy.db'}"

    @property
    def redis_url(self) -> str | None:
        """The Redis URL, with its password; None means an embedded server."""
        return None if self.redis.url is None else self.redis.url.get_secret_value()

    @property
    def guest_allowed(self) -> bool:
        """Whether the chat page works without signing in."""
        return self.auth.secret is None if self.auth.guest is None else self.auth.guest
