"""Settings for what one upstream wants differently, the same for the default upstream and the others."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from streamproxy.domain.addresses import is_named_private
from streamproxy.domain.quirks import Quirks
from streamproxy.settings.fields import Listed, Text, Unset
from streamproxy.settings.process import Section


class QuirkFields(Section):
    """The part of an upstream's settings that most upstreams leave alone."""

    allow_private: Annotated[bool | None, Unset] = Field(
        default=None,
        description="Whether http and private addresses are allowed; unset means where base_url names such a host.",
        examples=[True],
    )
    api_version: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]{0,64}$",
        description="The api-version of the azure dialect; empty for ours.",
    )
    send_stream_options: bool = Field(
        default=True, description="Whether it is asked for usage; false for servers that refuse stream_options."
    )
    drop_fields: Annotated[tuple[Text, ...], Listed] = Field(
        default=(), description="Request fields that it refuses, comma-separated; they are left out."
    )
    max_tokens_field: Literal["", "max_tokens", "max_completion_tokens"] = Field(
        default="", description="The only name it knows for the longest answer; empty for the client's."
    )

    @field_validator("base_url", check_fields=False)
    @classmethod
    def _is_safe(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Keys and conversations do not cross the internet in the clear."""
        allowed = info.data.get("allow_private")
        if (
            value is None
            or urlsplit(value).scheme == "https"
            or allowed
            or (allowed is None and is_named_private(value))
        ):
            return value
        raise ValueError("must begin with https:// (or set allow_private = true for a network of your own)")

    @property
    def quirks(self) -> Quirks:
        return Quirks(
            api_version=self.api_version,
            send_stream_options=self.send_stream_options,
            drop_fields=self.drop_fields,
            max_tokens_field=self.max_tokens_field,
        )

    def may_be_private(self, base_url: str) -> bool:
        """What ``allow_private`` comes to for *base_url*."""
        return is_named_private(base_url) if self.allow_private is None else self.allow_private
