# ruff: noqa: INP001  # a script beside the pages it writes, no package
"""The picture of the layers, drawn from the contract that import-linter holds (setup.cfg)."""

from __future__ import annotations

from configparser import ConfigParser
from html import escape
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
# What each row is for, in a few words, by its first module.
SAID = {
    "__main__": "the way in",
    "cli": "commands",
    "workers": "processes",
    "app": "the composition root",
    "composition": "who gets what",
    "handlers": "the edge: HTTP, settings",
    "services": "verbs, and the drivers they do not know",
    "dialects": "how each kind of upstream talks",
    "domain": "the rules, and the ports",
    "wire": "bytes to values, values to bytes",
    "log": "ground",
    "redaction": "what nobody is to read",
}
WIDTH, ROW, GAP, LEFT = 900, 34, 10, 300
_STYLE = (
    "text{font:14px ui-monospace,monospace;fill:#1c1b19}.said{font:italic 13px system-ui,sans-serif;fill:#625d55}"
    "rect{fill:#f3efe8;stroke:#8a857c}path{stroke:#8a857c;fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#eceae6}.said{fill:#b3ada3}rect{fill:#2a2825;stroke:#7d786f}}"
)


def layers() -> list[list[str]]:
    """The rows of the contract, upper first; neighbours in a row do not know each other."""
    contract = ConfigParser()
    contract.read(SETUP)
    lines = contract["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip() for name in line.split("|")] for line in lines if line.strip()]


def layers_picture() -> str:
    """The text of layers.svg. KeyError for a row that nobody has described."""
    rows = layers()
    height = len(rows) * (ROW + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The layers of streamproxy: upper may import lower, neighbours do not know each other</title>",
        f"<style>{_STYLE}</style>",
    ]
    for number, names in enumerate(rows):
        parts += _row(names, GAP + number * (ROW + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _row(names: list[str], top: int) -> list[str]:
    middle = top + ROW // 2 + 5
    parts = [f'<text class="said" x="{LEFT - 14}" y="{middle}" text-anchor="end">{escape(SAID[names[0]])}</text>']
    width = (WIDTH - LEFT - GAP * len(names)) / len(names)
    for place, name in enumerate(names):
        x = LEFT + place * (width + GAP)
        parts.append(f'<rect x="{x:.0f}" y="{top}" width="{width:.0f}" height="{ROW}" rx="6"/>')
        size = "" if len(name) * 8.6 < width else ' style="font-size:11px"'
        parts.append(f'<text x="{x + width / 2:.0f}" y="{middle}" text-anchor="middle"{size}>{escape(name)}</text>')
    return parts
