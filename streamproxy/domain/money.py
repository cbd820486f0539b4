"""What streams cost: prices, exact sums, amounts as people read them.

Amounts are whole nano-USD (10⁻⁹ USD) wherever they are stored or added, so that sums are exact on every database;
prices and what people read are Decimal. Never float. A price is written ``INPUT/CACHED/OUTPUT`` in USD per million
tokens, with ``/PICTURE`` in USD a picture for models that draw: ``2.50/1.25/10`` or ``0/0/0/0.04``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from streamproxy.domain.streams import Usage
from streamproxy.errors import BadRequestError, ConfigurationError

NANO = 1_000_000_000
# USD per million tokens are this many nano-USD a token.
_NANO_A_TOKEN = 1000
# A stream is billed at most a million USD: an upstream that reports nonsense must not overflow a 64-bit sum.
MOST_NANO = 1_000_000 * NANO
CENT = Decimal("0.01")
_PRICE = re.compile(r"\d{1,6}(?:\.\d{1,9})?", re.ASCII)
_AMOUNT = re.compile(r"-?\d{1,7}(?:\.\d{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs: USD per million tokens of input, input the provider had cached, output; USD a picture."""

    input: Decimal = Decimal(0)
    cached_input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    picture: Decimal = Decimal(0)

    def cost(self, usage: Usage, *, pictures: int = 0) -> int:
        """Nano-USD for *usage* and *pictures*, a half rounded up."""
        if not (self.input or self.cached_input or self.output or self.picture):
            return 0
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        tokens = (
            self.input * (usage.prompt_tokens - cached)
            + self.cached_input * cached
            + self.output * usage.completion_tokens
        )
        nano = tokens * _NANO_A_TOKEN + self.picture * pictures * NANO
        return min(int(nano.to_integral_value(ROUND_HALF_UP)), MOST_NANO)


# The one price of that kind, so that it can be told at a glance: without prices in the settings it is every model's.
FREE = Price()


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by the model name that clients use; *default* is for a model without an entry."""

    prices: Mapping[str, Price]
    default: Price = FREE

    def cost(self, model: str, usage: Usage, *, pictures: int = 0) -> int:
        """Nano-USD for *usage* of *model*."""
        price = self.prices.get(model, self.default)
        return 0 if price is FREE else price.cost(usage, pictures=pictures)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's money in USD, each with two places: *balance* is exactly *total* less *used*."""

    total: Decimal
    used: Decimal

    @property
    def balance(self) -> Decimal:
        return self.total - self.used


def parse_price(text: str) -> Price:
    """Read a price as the module describes it; ConfigurationError says what one looks like."""
    parts = [part.strip() for part in text.split("/")]
    if len(parts) not in (3, 4) or not all(_PRICE.fullmatch(part) for part in parts):
        raise ConfigurationError(
            f"{text!r} is not a price: write INPUT/CACHED/OUTPUT in USD per million tokens, for example 2.50/1.25/10, "
            "and /PICTURE in USD behind it for a model that draws"
        )
    price = Price(*map(Decimal, parts))
    return FREE if price == FREE else price


def parse_amount(text: str) -> int:
    """Nano-USD of an amount like ``18`` or ``-0.50``; BadRequestError on anything else."""
    if _AMOUNT.fullmatch(text) is None:
        raise BadRequestError(f"{text!r} is not an amount: write USD with at most two places, like 18 or 0.50")
    return int(Decimal(text) * NANO)


def usd(nano: int) -> Decimal:
    """*nano* in USD, exactly."""
    return Decimal(nano) / NANO


def rounded_usd(nano: int) -> Decimal:
    """*nano* in USD with two places, a half rounded up."""
    return usd(nano).quantize(CENT, ROUND_HALF_UP)


def cents(nano: int) -> Decimal:
    """*nano* in US cents, exactly."""
    return Decimal(nano) / (NANO // 100)
