"""Answers that want to do something on the page: run a script, load an address, leave their place."""

from __future__ import annotations

from random import Random

# {canary} is an address of the test's own, which nobody must ask; {mark} would set a global variable.
PAYLOADS = (
    "<script>{mark}</script>",
    "<img src={canary} onerror={mark}>",
    "<svg onload={mark}><use href={canary}#x></svg>",
    "<iframe src='{canary}' srcdoc='<script>parent.{mark}</script>'></iframe>",
    "<style>@import url({canary}); body {{ background: url({canary}) }}</style>",
    "<link rel=stylesheet href={canary}><link rel=prefetch href={canary}>",
    "<base href={canary}><form action={canary}><input autofocus onfocus={mark}></form>",
    "<meta http-equiv=refresh content='0;url={canary}'>",
    "<object data={canary}></object><embed src={canary}><video src={canary} autoplay></video>",
    "<details open ontoggle={mark}><math><mtext><mglyph><style><img src onerror={mark}>",
    "![picture]({canary})",
    "![picture][1]\n\n[1]: {canary}",
    "[click](javascript:{mark})",
    "[click](JaVaScRiPt&colon;{mark})",
    "[click](\tjava\nscript:{mark})",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[click](vbscript:{mark}) [blob](blob:{canary}) [file](file:///etc/passwd)",
    '[click](https://example.com" onmouseover="{mark})',
    '[title](https://example.com "x" onclick="{mark}")',
    "<javascript:{mark}> <{canary}> {canary}",
    "```html\n<script>{mark}</script>\n```",
    "```<img src=x onerror={mark}>\ncode\n```",
    "`<img src=x onerror={mark}>`",
    "| a | <img src={canary}> |\n|---|---|\n| <svg/onload={mark}> | [x](javascript:{mark}) |",
    "&lt;script&gt;{mark}&lt;/script&gt; &#60;img src=x onerror={mark}&#62;",
    "</p></div></li></ol></main><script>{mark}</script>",
    "\u202e<script>{mark}</script>\u0000\u2028{mark}",
    "{{{{constructor.constructor('{mark}')()}}}} ${{{mark}}} <%= {mark} %>",
    "[" * 40 + "x" + "](javascript:{mark})" * 40,
    "*" * 60 + "_" * 60 + "<b onmouseover={mark}>",
)
WRAPPERS = (
    "{}",
    "# {}",
    "> {}",
    "- {}",
    "1. {}\n2. {}",
    "**{}**",
    "*{}",
    "~~~\n{}",
    "{}\n\n---\n\n{}",
    "    {}",
    "> - > {}",
)


def hostile_answers(count: int, *, canary: str, mark: str, seed: int) -> list[str]:
    """*count* answers, each made of one to three payloads in some Markdown."""
    random = Random(seed)
    return [
        "\n\n".join(
            random.choice(WRAPPERS).replace("{}", random.choice(PAYLOADS).format(canary=canary, mark=mark))
            for _ in range(random.randint(1, 3))
        )
        for _ in range(count)
    ]


def cut(text: str, random: Random) -> list[str]:
    """*text* in pieces of one to twelve characters: marks, addresses and tags are cut anywhere."""
    pieces = []
    while text:
        size = random.randint(1, 12)
        pieces.append(text[:size])
        text = text[size:]
    return pieces
