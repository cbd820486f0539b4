"""The documents say what was measured: README's figures and the page are made from benchmarks.json and nothing else."""

from __future__ import annotations

from tests.bench import report
from tests.bench.results import read


def test_the_page_is_what_the_figures_say() -> None:
    """docs/benchmarks.md was not edited by hand, nor is it older than docs/benchmarks.json."""
    assert report.PAGE.read_text() == report.page(read())


def test_readme_says_what_was_measured() -> None:
    """The section between the marks is the one that ``make bench`` writes."""
    assert report.section(read()) in report.README.read_text()
