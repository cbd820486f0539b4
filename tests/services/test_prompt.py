"""What an exchange keeps of its prompt while the answer runs."""

from __future__ import annotations

from streamproxy.services.prompt import Prompt

CONTEXT = ({"role": "user", "content": "x" * 500_000}, {"role": "assistant", "content": "y"})
QUESTION = {"role": "user", "content": "And now?"}


def test_a_context_is_let_go_once_it_was_sent() -> None:
    """Its size is known, and the question is what the session will keep."""
    prompt = Prompt((*CONTEXT, QUESTION), (QUESTION,), system=None, left_out=2, tokens=7)
    assert prompt.sent() == Prompt((), (QUESTION,), system=None, left_out=2, tokens=7)


def test_messages_that_nobody_has_counted_may_have_to_be() -> None:
    prompt = Prompt((QUESTION,), (QUESTION,))
    assert prompt.sent() is prompt
