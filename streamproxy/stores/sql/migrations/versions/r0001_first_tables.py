"""The first tables: accounts, credentials, upstreams and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _accounts()
    _grants()
    _upstreams()
    _ledger()


def _accounts() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", _Name, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("openid", sa.Text),
        sa.Column("email", sa.Text),
        sa.Column("questions_left", sa.Integer),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.UniqueConstraint("openid", name="uq_users_openid"),
    )
    issued = "with a purpose only: the bearer is signed again from its row, byte for byte"
    op.create_table(
        "bearers",
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("issued", sa.Double, comment=issued),
        sa.Column("purpose", sa.Text, comment="NULL, or what this is its user's only bearer for"),
        sa.PrimaryKeyConstraint("jti", name="pk_bearers"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_bearers_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("user_id", "purpose", name="uq_bearers_user_id"),
    )
    op.create_index("ix_bearers_user_id", "bearers", ["user_id"])
    op.create_table(
        "reserved_questions",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_reserved_questions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_reserved_questions_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_reserved_questions_user_id", "reserved_questions", ["user_id"])
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_api_tokens_token_hash"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_tokens_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_api_tokens_user_id", "api_tokens", ["user_id"])


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("nano_usd", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_grants_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_grants_user_id", "grants", ["user_id"])


def _upstreams() -> None:
    models = "JSON object: name or pattern -> the provider's name"
    options = "JSON object: quirks and whatever else differs from the default"
    own_limits = "its own limits, as settings spell them; NULL in all three: the upstream's"
    op.create_table(
        "upstreams",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False, comment=models),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("options", sa.Text, nullable=False, comment=options),
        sa.Column("key_requests", sa.Text, nullable=False, comment="limits of each key, as settings spell them"),
        sa.Column("key_tokens", sa.Text, nullable=False, comment="likewise"),
        sa.Column("key_streams", sa.Integer, nullable=False, comment="running at once by each key, 0 for any number"),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_upstreams"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False, comment="Fernet ciphertext"),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("requests", sa.Text, comment=own_limits),
        sa.Column("tokens", sa.Text),
        sa.Column("streams", sa.Integer),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_upstream", "keys", ["upstream"])
    op.create_table(
        "held_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_held_keys"),
    )


def _ledger() -> None:
    op.create_table(
        "messages",
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False, comment="the chat message as JSON, before any truncation"),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "position", name="pk_messages"),
    )
    op.create_index("ix_messages_user_id_session_id_created", "messages", ["user_id", "session_id", "created"])
    op.create_index("ix_messages_user_id_created", "messages", ["user_id", "created"])
    day = "UTC days since 1970-01-01, to group by on any database"
    op.create_table(
        "usage",
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("key_last4", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False, comment="empty when no key answered"),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("day", sa.Integer, nullable=False, comment=day),
        sa.Column("ttft_ms", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger, nullable=False),
        sa.Column("chunks", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("end_reason", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.PrimaryKeyConstraint("stream_id", name="pk_usage"),
    )
    op.create_index("ix_usage_user_id_created", "usage", ["user_id", "created"])
    op.create_index("ix_usage_day_user_id_model", "usage", ["day", "user_id", "model"])
    op.create_index("ix_usage_key_id", "usage", ["key_id"])
