"""The documents keep their word: their commands run, their links lead somewhere, their tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import PAGES
from streamproxy.settings import load
from tests.docs.conftest import Clone
from tests.docs.documents import DOCUMENTS, ROOT, Snippet, quotations, run, script, snippets, start

# Commands start processes by the dozen, and the demo model types at its own pace.
pytestmark = pytest.mark.timeout(240)
README = ROOT / "README.md"
# What a chunk says, in what curl prints.
_CONTENT = re.compile(r'"content":"((?:[^"\\]|\\.)*)"')
RUNNABLE = [path for path in DOCUMENTS if path != README and snippets(path)]
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(?:#[^)]*)?\)")
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"STREAMPROXY_[A-Z]+__[A-Z_]+")


def said(printed: str) -> str:
    """The answer in what a snippet printed: in chunks, in pieces a line, or as it is."""
    return "".join(_CONTENT.findall(printed)) or printed.replace("\n", "")


def test_the_readme_works_from_its_first_command_to_its_last(clone: Clone) -> None:
    parts = snippets(README)
    printed = run(clone.folder, script(parts, port=clone.port))
    answered = [part.text for part, text in zip(parts, printed, strict=True) if "demo model" in said(text)]
    for way in ("curl -N", "from openai", 'from "openai"'):
        assert any(way in text for text in answered), f"the snippet with {way} shows no answer"
    everything = "\n".join(printed)
    assert "Your name is **Ada**" in everything
    assert "You have not told me your name" in everything, "another session knows nothing"
    assert re.search(r"^sk-sp-[\w-]{43}$", everything, re.MULTILINE)
    assert "limits.requests = 3/30s,20/calendar-day  (environment STREAMPROXY_LIMITS__REQUESTS)" in everything


def test_the_readmes_curl_shows_the_answer_growing(clone: Clone) -> None:
    """Its first line is there while curl still waits for the rest, and more lines follow one by one.

    In standard output alone: in between curl writes its progress to the other, without ending the line.
    """
    parts = snippets(README)
    upto = next(i for i, part in enumerate(parts) if "curl -N" in part.text)
    with start(clone.folder, script(parts[: upto + 1], port=clone.port)) as shell:
        assert shell.stdout is not None
        first = next(line for line in shell.stdout if line.startswith("data: {"))
        assert shell.poll() is None, f"the answer came in one piece: {first}"
        rest = [line for line in shell.stdout if line.startswith("data: ")]
    assert rest[-1] == "data: [DONE]\n"
    assert len(rest) > 20


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: path.name)
def test_the_commands_of_the_other_documents_work(document: Path, clone: Clone) -> None:
    assert run(clone.folder, script(snippets(document), port=clone.port))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_files_in_a_document_are_such(document: Path, tmp_path: Path) -> None:
    for number, text in enumerate(_TOML.findall(document.read_text())):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        load(path, {}, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_quotes_is_in_that_file(document: Path) -> None:
    for path, text in quotations(document):
        assert text in path.read_text(), path


def test_a_snippet_that_fails_fails_its_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit code 1"):
        run(tmp_path, script([Snippet("sh", "false"), Snippet("sh", "echo never")], port=1))


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_into_the_project_leads_somewhere(document: Path) -> None:
    missing = [link for link in _LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_generated_pages_say_what_the_code_says(page: Path) -> None:
    assert page.read_text() == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(document: Path) -> None:
    from streamproxy.settings.names import VARIABLES

    assert set(_SETTING.findall(document.read_text())) <= set(VARIABLES)


def test_the_readme_shows_the_defaults_that_are_in_force() -> None:
    from streamproxy.settings import Settings
    from streamproxy.settings.names import VARIABLES
    from streamproxy.settings.texts import text_of

    rows = re.findall(r"^\| `(STREAMPROXY_\w+)`[^|]* \| `([^`]*)` \|", README.read_text(), re.MULTILINE)
    assert len(rows) >= 3
    for variable, shown in rows:
        section, field = VARIABLES[variable].split(".")
        assert shown == text_of(getattr(getattr(Settings(), section), field)), variable
