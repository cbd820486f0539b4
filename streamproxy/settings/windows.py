"""Context windows of well-known models, in tokens, as their providers publish them.

https://platform.openai.com/docs/models and https://api-docs.deepseek.com/quick_start/pricing. Names are
looked up as they are: a dated name that is not here has the default window, which is small and safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_MILLION = 1_047_576

WELL_KNOWN: Mapping[str, int] = MappingProxyType(
    {
        "gpt-3.5-turbo": 16_385,
        "gpt-3.5-turbo-0125": 16_385,
        "gpt-3.5-turbo-1106": 16_385,
        "gpt-3.5-turbo-16k": 16_385,
        "gpt-3.5-turbo-instruct": 4_096,
        "gpt-4": 8_192,
        "gpt-4-0613": 8_192,
        "gpt-4-32k": 32_768,
        "gpt-4-turbo": 128_000,
        "gpt-4-turbo-2024-04-09": 128_000,
        "gpt-4-turbo-preview": 128_000,
        "gpt-4-1106-preview": 128_000,
        "gpt-4-0125-preview": 128_000,
        "gpt-4o": 128_000,
        "gpt-4o-2024-05-13": 128_000,
        "gpt-4o-2024-08-06": 128_000,
        "gpt-4o-2024-11-20": 128_000,
        "gpt-4o-mini": 128_000,
        "gpt-4o-mini-2024-07-18": 128_000,
        "chatgpt-4o-latest": 128_000,
        "gpt-4.1": _MILLION,
        "gpt-4.1-2025-04-14": _MILLION,
        "gpt-4.1-mini": _MILLION,
        "gpt-4.1-nano": _MILLION,
        "o1": 200_000,
        "o1-mini": 128_000,
        "o1-preview": 128_000,
        "o1-pro": 200_000,
        "o3": 200_000,
        "o3-mini": 200_000,
        "o3-pro": 200_000,
        "o4-mini": 200_000,
        "gpt-5": 400_000,
        "gpt-5-mini": 400_000,
        "gpt-5-nano": 400_000,
        "gpt-5-chat-latest": 128_000,
        "deepseek-chat": 65_536,
        "deepseek-reasoner": 65_536,
    }
)
