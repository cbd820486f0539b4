"""OpenAI's former billing pages, each under two paths."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import Family, Json, Operation, answer, parameter, ref, struct

TAG: Final = "billing"
_USD: Final[Json] = {"type": "number", "description": "USD."}

_SCHEMAS: Final[Json] = {
    "Subscription": struct(
        {
            "object": {"const": "billing_subscription"},
            "has_payment_method": {"type": "boolean"},
            "soft_limit_usd": _USD,
            "hard_limit_usd": _USD,
            "system_hard_limit_usd": _USD,
            "access_until": {"type": "integer"},
        }
    ),
    "Spent": struct(
        {
            "object": {"const": "list"},
            "daily_costs": {
                "type": "array",
                "items": struct(
                    {
                        "timestamp": {"type": "number"},
                        "line_items": {
                            "type": "array",
                            "items": struct({"name": {"type": "string"}, "cost": {"type": "number"}}),
                        },
                    }
                ),
            },
            "total_usage": {"type": "number", "description": "US cents."},
        }
    ),
}


def _day(name: str, description: str) -> Json:
    schema = {"type": "string", "anyOf": [{"format": "date"}, {"maxLength": 0}]}
    return parameter("query", name, description, schema, example="2026-01-31")


def _pages(prefix: str, suffix: str) -> tuple[Operation, Operation]:
    return (
        Operation(
            method="get",
            path=f"{prefix}/dashboard/billing/subscription",
            id=f"getSubscription{suffix}",
            summary="Show what was granted",
            tag=TAG,
            answers={200: answer("The limits, in USD.", ref("Subscription"))},
            errors=(401, 503),
        ),
        Operation(
            method="get",
            path=f"{prefix}/dashboard/billing/usage",
            id=f"getSpent{suffix}",
            summary="Show what was spent, by day and model",
            description="From 0 to 366 days; without dates the last hundred.",
            tag=TAG,
            parameters=(_day("start_date", "First UTC day."), _day("end_date", "Last UTC day, included.")),
            answers={200: answer("The costs, in US cents.", ref("Spent"))},
            errors=(400, 401, 503),
        ),
    )


FAMILY: Final = Family(TAG, "What was granted and spent.", (*_pages("", ""), *_pages("/v1", "V1")), _SCHEMAS)
