"""Settings of moderation: the word list, and the upstream's own judgement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from streamproxy.domain.wordlist import WordList, parse_word_list
from streamproxy.errors import ConfigurationError
from streamproxy.settings.fields import Place, Text, Unset
from streamproxy.settings.process import Section

# Twenty thousand words are some 200 kB.
LARGEST_FILE = 4 << 20


class Moderation(Section):
    """What may not be asked or said."""

    file: Annotated[Place | None, Unset] = Field(
        default=None,
        description="Forbidden words, one a line, re: before a regular expression, # before a comment; unset for none.",
        examples=["deploy/moderation.example.txt"],
    )
    nfkc: bool = Field(
        default=True, description="Whether full-width letters, ligatures and the like count as what they look like."
    )
    upstream_model: Annotated[Text | None, Unset] = Field(
        default=None,
        description="Model that the upstream's /moderations judges each question with; unset asks none.",
        examples=["omni-moderation-latest"],
    )

    @model_validator(mode="after")
    def _file_is_a_word_list(self) -> Moderation:
        self.words()
        return self

    def words(self) -> WordList | None:
        """The word list, read now; None without a file or patterns. ValueError names the line at fault."""
        if self.file is None:
            return None
        try:
            return parse_word_list(_text(self.file), nfkc=self.nfkc)
        except (ConfigurationError, OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise ValueError(f"moderation.file {self.file}: {reason}") from None


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ConfigurationError(f"is larger than {LARGEST_FILE} bytes")
    return data.decode()
