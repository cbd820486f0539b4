"""The streams of providers as their documentation shows them: each is a valid stream of family A for the client.

The bytes in ``data/`` were written by us after: Azure, learn.microsoft.com/azure/ai-services/openai/concepts/
content-streaming · DeepSeek, api-docs.deepseek.com (rate limit, reasoning model) · OpenRouter, openrouter.ai/docs
(streaming, errors) · Ollama, github.com/ollama/ollama openai/openai.go · vLLM, docs.vllm.ai (stream_options) ·
transformers, huggingface/transformers cli/serving/chat_completion.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.relaying import View, assert_family_a, cut_at, seen

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is in a stream. *usage*: prompt, completion and cached tokens, None where the upstream says nothing."""

    text: str
    usage: tuple[int, int, int] | None = None
    reasoning: str = ""
    finish: str | None = "stop"
    error: str | None = None


STREAMS = {
    "openai/stream": Expected("Grün ist eine Farbe 🎨.", (11, 5, 4)),
    "azure/default_filter": Expected("Color is light.", (9, 4, 0)),
    "azure/async_filter": Expected("Color is light."),
    "azure/blocked": Expected("Hey Jude", finish="content_filter"),
    "deepseek/reasoner": Expected("9.8 is greater.", (21, 14, 16), reasoning="The user asks 9.11 or 9.8."),
    "openrouter/stream": Expected("Yes, it is.", (14, 4, 0), reasoning="Short answer."),
    "openrouter/broken": Expected("Once upon", finish=None, error="upstream_error_event"),
    "openrouter/error_in_200": Expected("", finish=None, error="upstream_error_event"),
    "ollama/stream": Expected("Hi there!"),
    "ollama/with_usage": Expected("Hi there!", (26, 4, 0)),
    "ollama/no_end_mark": Expected("Hi there!"),
    "ollama/end_mark_alone": Expected("Hi there!"),
    "vllm/continuous_usage": Expected("Paris is it.", (30, 4, 0)),
    "vllm/error": Expected("Paris", finish=None, error="upstream_error_event"),
    "transformers/stream": Expected("The sky is blue.", (12, 5, 0)),
    "transformers/error": Expected("The", finish=None, error="upstream_error_event"),
}
CUTS = {"whole": 0, "event by event": -1, "byte by byte": 1, "in sevens": 7, "in hundreds": 100}


def batches_of(data: bytes, size: int) -> list[bytes]:
    if size == 0:
        return [data]
    if size < 0:
        return [event + b"\n\n" for event in data.split(b"\n\n") if event]
    return cut_at(data, range(0, len(data), size))


def data_of(name: str) -> bytes:
    return (DATA / f"{name}.sse").read_bytes()


def test_every_recorded_stream_is_in_the_table() -> None:
    """A new one is dropped into its folder and named above."""
    assert {str(path.relative_to(DATA).with_suffix("")) for path in DATA.rglob("*.sse")} == STREAMS.keys()


@pytest.mark.parametrize("size", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize("include_usage", [True, False], ids=["usage", "no usage"])
@pytest.mark.parametrize(("name", "expected"), STREAMS.items(), ids=STREAMS.keys())
def test_the_client_sees_a_valid_stream(name: str, expected: Expected, size: int, *, include_usage: bool) -> None:
    view = seen(batches_of(data_of(name), size), include_usage=include_usage)
    assert_family_a(view, include_usage=include_usage)
    assert (view.text, view.reasoning, view.finish_reason) == (expected.text, expected.reasoning, expected.finish)
    assert (view.usage, view.error) == (expected.usage, expected.error)


@pytest.mark.parametrize("name", STREAMS)
def test_an_id_that_another_completion_had_is_given_anew(name: str) -> None:
    """Ollama draws one of 999, transformers calls all of them req_0: chatgpt-web keys its memory by it."""
    data = data_of(name)
    own = [json.loads(line[6:]).get("id") for line in data.decode().splitlines() if line.startswith('data: {"')]
    view = seen([data], taken=[name for name in own if name])
    assert_family_a(view, include_usage=False)
    assert {chunk["id"] for chunk in view.chunks} <= {"chatcmpl-st_ours"}


SPELLINGS = {
    "BOM and CRLF": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "LF": lambda data: data,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_no_place_to_cut_a_stream_changes_it(spell: Callable[[bytes], bytes]) -> None:
    """U15: inside a character, between CR and LF, inside the BOM, anywhere."""
    data = spell(data_of("openai/stream"))
    expected = seen([data], include_usage=True)
    assert expected.text == "Grün ist eine Farbe 🎨."
    for at in range(1, len(data)):
        view = seen([data[:at], data[at:]], include_usage=True)
        assert (view.chunks, view.text, view.usage) == (expected.chunks, expected.text, expected.usage)


def azure(name: str) -> View:
    return seen([data_of(f"azure/{name}")])


@pytest.mark.parametrize("name", ["default_filter", "async_filter", "blocked"])
def test_what_azures_filter_says_of_the_prompt_comes_first_with_the_completions_id(name: str) -> None:
    """It comes before the completion has an id, and every client keys by the id of the first chunk."""
    first, second = azure(name).chunks[:2]
    assert first["choices"] == []
    assert first.get("prompt_filter_results") or first.get("prompt_annotations")
    assert first["id"] == second["id"] == "chatcmpl-8JCbt5d4luUIhYCI7YH4dQK7hnHx2"
    assert (first["object"], first["model"]) == ("chat.completion.chunk", "asked-for")


def test_what_azures_filter_says_later_is_kept_and_readable() -> None:
    """Every client reads ``choices[0].delta``; these chunks come without one."""
    notes = [c for c in azure("async_filter").chunks if c["choices"] and "content_filter_offsets" in c["choices"][0]]
    assert len(notes) == 2
    assert all(note["choices"][0]["delta"] == {} for note in notes)
    assert all(note["choices"][0]["content_filter_results"]["hate"]["severity"] == "safe" for note in notes)
    assert all(note["id"] == "chatcmpl-8JCbt5d4luUIhYCI7YH4dQK7hnHx2" for note in notes)


def test_a_stream_of_preludes_only_fills_no_memory() -> None:
    """They wait for an id only so long."""
    prelude = b'data: {"choices":[],"id":"","prompt_filter_results":[]}\n\n'
    view = seen([prelude] * 100)
    assert len(view.chunks) == 100
    assert {chunk["id"] for chunk in view.chunks} == {"chatcmpl-st_ours"}
    assert view.error == "upstream_incomplete"


@pytest.mark.parametrize("name", ["openai/stream", "ollama/stream", "transformers/stream"])
def test_a_clean_stream_leaves_as_it_came(name: str) -> None:
    """Byte for byte, the chunks with usage excepted."""
    data = data_of(name)
    kept = [frame for frame in data.split(b"\n\n") if frame and b'_tokens"' not in frame and b"[DONE]" not in frame]
    body = seen([data]).body
    assert all(frame + b"\n\n" in body for frame in kept)
