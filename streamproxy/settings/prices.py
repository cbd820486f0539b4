"""Prices of well-known models, as their providers published them in 2025, in the grammar of ``domain.money``.

https://platform.openai.com/docs/pricing and https://api-docs.deepseek.com/quick_start/pricing. Names are looked up
as they are. They are list prices: whoever pays others, or wants to bill others, sets them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WELL_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "gpt-3.5-turbo": "0.50/0.50/1.50",
        "gpt-4": "30/30/60",
        "gpt-4-turbo": "10/10/30",
        "gpt-4o": "2.50/1.25/10",
        "gpt-4o-mini": "0.15/0.075/0.60",
        "gpt-4.1": "2/0.50/8",
        "gpt-4.1-mini": "0.40/0.10/1.60",
        "gpt-4.1-nano": "0.10/0.025/0.40",
        "o1": "15/7.50/60",
        "o3": "2/0.50/8",
        "o3-mini": "1.10/0.55/4.40",
        "o4-mini": "1.10/0.275/4.40",
        "gpt-5": "1.25/0.125/10",
        "gpt-5-mini": "0.25/0.025/2",
        "gpt-5-nano": "0.05/0.005/0.40",
        "deepseek-chat": "0.28/0.028/0.42",
        "deepseek-reasoner": "0.28/0.028/0.42",
        "text-embedding-3-small": "0.02/0.02/0",
        "text-embedding-3-large": "0.13/0.13/0",
        "dall-e-2": "0/0/0/0.02",
        "dall-e-3": "0/0/0/0.04",
    }
)
