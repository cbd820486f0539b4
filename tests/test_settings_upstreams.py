"""Settings of upstreams: what each may reach, and what it wants differently."""

from __future__ import annotations

import pytest

from streamproxy.domain.quirks import NO_QUIRKS, Quirks
from streamproxy.errors import ConfigurationError
from streamproxy.settings import UpstreamEntry, load


def upstream_of(**values: str) -> UpstreamEntry:
    """The default upstream as the environment *values* make it."""
    environ = {f"STREAMPROXY_UPSTREAM__{name}": value for name, value in values.items()}
    return load(None, {}, environ).settings.all_upstreams[0]


def test_a_private_looking_base_url_needs_no_permission() -> None:
    upstream = upstream_of(BASE_URL="http://ollama:11434/v1")
    assert upstream.may_be_private(upstream.base_url)
    assert upstream.quirks == NO_QUIRKS


def test_a_public_base_url_has_none() -> None:
    upstream = upstream_of(BASE_URL="https://api.example.com/v1")
    assert not upstream.may_be_private(upstream.base_url)


def test_permission_can_be_given_and_refused() -> None:
    given = upstream_of(BASE_URL="http://llm.corp.example.com/v1", ALLOW_PRIVATE="true")
    assert given.may_be_private(given.base_url)
    refused = upstream_of(BASE_URL="https://localhost/v1", ALLOW_PRIVATE="false")
    assert not refused.may_be_private(refused.base_url)


@pytest.mark.parametrize(
    ("url", "permission"),
    [
        ("http://api.example.com/v1", ""),
        ("http://169.254.169.254/latest", ""),
        ("http://api.example.com/v1", "false"),
        ("http://127.0.0.1/v1", "false"),
    ],
)
def test_plain_http_to_the_world_is_a_fault_with_a_remedy(url: str, permission: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        upstream_of(BASE_URL=url, ALLOW_PRIVATE=permission)
    assert "must begin with https://" in caught.value.message
    assert "allow_private = true" in caught.value.message


def test_the_default_upstream_has_quirks_too() -> None:
    upstream = upstream_of(
        BASE_URL="https://resource.openai.azure.com",
        DIALECT="azure",
        API_VERSION="2025-01-01-preview",
        SEND_STREAM_OPTIONS="false",
        DROP_FIELDS="logprobs, user",
        MAX_TOKENS_FIELD="max_tokens",
    )
    assert upstream.dialect == "azure"
    assert upstream.quirks == Quirks(
        api_version="2025-01-01-preview",
        send_stream_options=False,
        drop_fields=("logprobs", "user"),
        max_tokens_field="max_tokens",
    )
