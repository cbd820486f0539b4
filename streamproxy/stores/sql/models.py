"""The tables, as SQLAlchemy Core knows them. ``migrations`` makes them; a test holds the two together.

Core instead of mapped classes: what crosses the boundary are the frozen values of ``domain``, so an
identity map and lazy loading would only be something to guard against.

Times are epoch seconds in a double, as everywhere in ``domain``: a double holds them to a fraction of a
microsecond until past the year 2100, it reads back as the very value that was written, and SQLite and
PostgreSQL compare it alike, which their date types do not.

Text columns carry no length: bounds are the services' business, SQLite ignores them and PostgreSQL
stores both kinds alike. Counters are 64 bits wide, because an upstream chooses what it reports.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

# Named constraints can be changed by a later migration on both databases.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# Pages of users go by name, and both databases must agree on the order: bytes, as SQLite does it.
_Name = Text().with_variant(Text(collation="C"), "postgresql")

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("openid", Text, unique=True),
    Column("email", Text),
    Column("questions_left", Integer),
    Column("created", Double, nullable=False),
)

bearers = Table(
    "bearers",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("expires", Double, nullable=False),
    Column("issued", Double, comment="with a purpose only: the bearer is signed again from its row, byte for byte"),
    Column("purpose", Text, comment="NULL, or what this is its user's only bearer for"),
    UniqueConstraint("user_id", "purpose"),
)

# Questions that are being answered. A row ends with its request, or by itself when the worker was killed.
reserved_questions = Table(
    "reserved_questions",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("until", Double, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

upstreams = Table(
    "upstreams",
    metadata,
    Column("name", Text, primary_key=True),
    Column("dialect", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("models", Text, nullable=False, comment="JSON object: name or pattern -> the provider's name"),
    Column("priority", Integer, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("options", Text, nullable=False, comment="JSON object: quirks and whatever else differs from the default"),
    Column("key_requests", Text, nullable=False, comment="limits of each key, as settings spell them"),
    Column("key_tokens", Text, nullable=False, comment="likewise"),
    Column("key_streams", Integer, nullable=False, comment="running at once by each key, 0 for any number"),
    Column("created", Double, nullable=False),
)

# No foreign key to upstreams: an upstream may also come from the settings, and its keys stand here.
# How a key stands (cooling, parked ...) lives in Redis, where all workers see it at once.
keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("upstream", Text, nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False, comment="Fernet ciphertext"),
    Column("last4", Text, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("requests", Text, comment="its own limits, as settings spell them; NULL in all three: the upstream's"),
    Column("tokens", Text),
    Column("streams", Integer),
    Column("created", Double, nullable=False),
)

# Keys that a person took out of use, those of the settings too: that has to outlive any Redis.
held_keys = Table(
    "held_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("since", Double, nullable=False),
)

# What accounts were granted; an account's total is their sum. Money is whole nano-USD (domain.money).
grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey(users.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("nano_usd", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
)

# The ledger: no foreign keys to users, because guests have no row there and a bill outlives an account.
messages = Table(
    "messages",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("user_id", Text, nullable=False),
    Column("session_id", Text),
    Column("role", Text, nullable=False),
    Column("message", Text, nullable=False, comment="the chat message as JSON, before any truncation"),
    Column("created", Double, nullable=False),
    Column("complete", Boolean, nullable=False),
    Index("ix_messages_user_id_session_id_created", "user_id", "session_id", "created"),
    Index("ix_messages_user_id_created", "user_id", "created"),
)

usage = Table(
    "usage",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("session_id", Text),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("key_last4", Text, nullable=False),
    Column("key_id", Text, nullable=False, index=True, comment="empty when no key answered"),
    Column("created", Double, nullable=False),
    Column("day", Integer, nullable=False, comment="UTC days since 1970-01-01, to group by on any database"),
    Column("ttft_ms", BigInteger),
    Column("duration_ms", BigInteger, nullable=False),
    Column("chunks", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("images", Integer, nullable=False),
    Column("end_reason", Text, nullable=False),
    Column("error_code", Text),
    Index("ix_usage_user_id_created", "user_id", "created"),
    Index("ix_usage_day_user_id_model", "day", "user_id", "model"),
)
