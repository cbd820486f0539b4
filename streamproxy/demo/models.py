"""The demo models: one to chat with, and some to see how a frontend takes slow, long and failing answers."""

from __future__ import annotations

from dataclasses import dataclass

from streamproxy.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class DemoModel:
    """How a demo model behaves. Times are in seconds, *pace* in pieces a second; a piece is about a word.

    *fails_after* is the number of pieces after which the answer fails, *busy_for* the Retry-After of a refusal.
    """

    id: str
    first_piece_after: float = 0.2
    pace: float = 35
    everything: bool = False
    fails_after: int | None = None
    busy_for: int | None = None


DEMO = DemoModel("demo")
MODELS = {
    model.id: model
    for model in (
        DEMO,
        DemoModel("demo-slow", first_piece_after=4, pace=5),
        DemoModel("demo-long", everything=True),
        DemoModel("demo-fail", fails_after=12),
        DemoModel("demo-busy", busy_for=2),
    )
}


def model_named(name: str) -> DemoModel:
    """The model *name*; ``demo`` answers for names of others' models, so that any frontend can try us at once.

    NotFoundError for a name that could only be ours and is not.
    """
    if name.startswith("demo-") and name not in MODELS:
        known = ", ".join(MODELS)
        raise NotFoundError(
            f"There is no demo model {name!r}; there are {known}", code="model_not_found", param="model"
        )
    return MODELS.get(name, DEMO)
