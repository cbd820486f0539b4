"""Money: exact to the nano-USD, never float."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.money import (
    FREE,
    MOST_NANO,
    Balance,
    Price,
    PriceTable,
    cents,
    parse_amount,
    parse_price,
    rounded_usd,
    usd,
)
from streamproxy.domain.streams import Usage
from streamproxy.errors import BadRequestError, ConfigurationError

GPT_4O = parse_price("2.50/1.25/10")


def test_a_million_tokens_cost_their_price() -> None:
    million = 1_000_000
    assert usd(GPT_4O.cost(Usage(prompt_tokens=million))) == Decimal("2.5")
    assert usd(GPT_4O.cost(Usage(prompt_tokens=million, cached_tokens=million))) == Decimal("1.25")
    assert usd(GPT_4O.cost(Usage(completion_tokens=million))) == Decimal(10)
    assert usd(parse_price("0/0/0/0.04").cost(Usage(), pictures=3)) == Decimal("0.12")


def test_cached_input_is_a_part_of_the_input() -> None:
    usage = Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=7)
    assert GPT_4O.cost(usage) == 60 * 2500 + 40 * 1250 + 7 * 10_000


def test_more_cached_than_input_is_an_upstreams_mistake_and_costs_no_less_than_the_input() -> None:
    assert GPT_4O.cost(Usage(prompt_tokens=10, cached_tokens=99)) == GPT_4O.cost(
        Usage(prompt_tokens=10, cached_tokens=10)
    )


def test_half_a_nano_usd_is_rounded_up() -> None:
    assert parse_price("0.0005/0/0").cost(Usage(prompt_tokens=1)) == 1
    assert parse_price("0.000499999/0/0").cost(Usage(prompt_tokens=1)) == 0


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15))
def test_no_report_of_an_upstream_overflows_a_64_bit_column(prompt: int, cached: int, completion: int) -> None:
    cost = Price(Decimal(999_999), Decimal(999_999), Decimal(999_999)).cost(Usage(prompt, completion, cached))
    assert 0 <= cost <= MOST_NANO < 2**63 // 1000


def test_a_model_without_a_price_has_the_default() -> None:
    table = PriceTable({"gpt-4o": GPT_4O}, default=parse_price("1/1/1"))
    usage = Usage(prompt_tokens=1_000_000)
    assert [usd(table.cost(model, usage)) for model in ("gpt-4o", "gpt-4o-new")] == [Decimal("2.5"), Decimal(1)]
    assert PriceTable({}).cost("anything", usage) == 0


def test_what_is_free_costs_nothing_however_it_is_written() -> None:
    """Only one such price is told at a glance; any other is found out by counting."""
    usage = Usage(1_000_000, 1_000_000, 1)
    assert parse_price("0/0/0") is parse_price("0.00/0/0/0.0") is FREE
    for price in (FREE, Price(Decimal(0)), Price(picture=Decimal("0.00"))):
        assert PriceTable({"m": price}).cost("m", usage, pictures=3) == 0
    assert PriceTable({"m": parse_price("0/0/0/0.04")}).cost("m", usage, pictures=3) == 120_000_000


@given(st.integers(0, 10**16), st.integers(0, 10**16))
def test_the_balance_is_total_less_used_to_the_cent(granted: int, spent: int) -> None:
    balance = Balance(rounded_usd(granted), rounded_usd(spent))
    assert balance.balance == balance.total - balance.used
    assert balance.balance.as_tuple().exponent == -2


def test_the_example_of_the_contract() -> None:
    """CONTRACTS C4."""
    balance = Balance(rounded_usd(parse_amount("18")), rounded_usd(80_000_000))
    assert [str(amount) for amount in (balance.total, balance.balance, balance.used)] == ["18.00", "17.92", "0.08"]


def test_cents_are_not_rounded() -> None:
    assert str(cents(1)) == "1E-7"
    assert cents(80_000_001) == Decimal("8.0000001")


@pytest.mark.parametrize("text", ["", "1/2", "1/2/3/4/5", "a/b/c", "-1/0/0", "1e3/0/0", "NaN/0/0", "1,5/0/0", "1//1"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="INPUT/CACHED/OUTPUT"):
        parse_price(text)


@pytest.mark.parametrize(("text", "nano"), [("18", 18 * 10**9), ("0.08", 80_000_000), ("-0.5", -500_000_000)])
def test_amounts_have_at_most_two_places(text: str, nano: int) -> None:
    assert parse_amount(text) == nano
    with pytest.raises(BadRequestError):
        parse_amount(f"{text}.001")
