"""Fields made at once are, for whoever reads them, those that the installed Tornado makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError

from streamproxy.connections import fields
from streamproxy.connections.fields import Fields, fields_of, lines_of, spelled, values_of

SAID = {"content-TYPE": "text/plain", "X-Session-Id": "", "etag": '"x"', "X": "a,b"}


def test_whatever_is_asked_is_answered_the_same() -> None:
    ours, theirs = fields_of(SAID), HTTPHeaders(SAID)
    assert isinstance(ours, Fields)
    assert vars(ours) == vars(theirs)
    assert list(ours.get_all()) == list(theirs.get_all())
    assert (str(ours), len(ours), [*ours]) == (str(theirs), len(theirs), [*theirs])
    for name in ("CONTENT-type", "x-session-id", "Etag", "x", "other"):
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "none") == theirs.get(name, "none")
        assert (name in ours) == (name in theirs)
        assert ours.get_list(name) == theirs.get_list(name)


def test_further_values_are_combined() -> None:
    ours = fields_of(SAID)
    ours.add("x", "c")
    ours.add("New", "d")
    assert (ours.get("X"), ours["X"], ours.get("new")) == ("a,b,c", "a,b,c", "d")
    assert ("X", "c") in ours.get_all()
    ours.update({"x": "e"})
    assert (ours.get("X"), ours.get_list("X")) == ("e", ["e"])
    del ours["x"]
    assert ours.get("x") is None
    with pytest.raises(HTTPInputError):
        ours.add("New", "a\r\nb")


def test_no_two_share_what_they_were_made_of() -> None:
    said = {"X": "a"}
    one, other = fields_of(said), fields_of(said)
    one["X"] = "b"
    one.add("X", "c")
    assert (other.get("X"), said) == ("a", {"X": "a"})


@pytest.mark.parametrize("make", [fields_of, HTTPHeaders])
def test_values_are_told_by_name_in_a_dictionary_of_ones_own(make: Callable[[dict[str, str]], HTTPHeaders]) -> None:
    headers = make(SAID)
    headers.add("X", "c")
    found = values_of(headers)
    assert found == {"Content-Type": ["text/plain"], "X-Session-Id": [""], "Etag": ['"x"'], "X": ["a,b", "c"]}
    found["X"] = ["d"]
    assert headers["X"] == "a,b,c"


def test_lines_are_those_of_a_head() -> None:
    lines = lines_of(SAID)
    assert lines == {name: f"{name}: {value}\r\n" for name, value in HTTPHeaders(SAID).items()}
    assert [*lines_of({"a": "1", "A": "2"})] == ["A"]


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0", "\u20ac"])
def test_no_line_is_more_than_one(value: str) -> None:
    with pytest.raises(ValueError, match="Unsafe"):
        lines_of({"A": "b", "X": value})


def test_names_are_spelled_as_tornado_does() -> None:
    for name in ("coNtent-TYPE", "x--y", "-", "www-authenticate", "x-ratelimit-limit-requests"):
        assert [spelled(name)] == [*HTTPHeaders({name: "x"})]


def test_another_tornado_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then fields are as it makes them."""
    assert fields._known()
    real = HTTPHeaders.__init__

    def made(self: HTTPHeaders, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        self.more = {}  # type: ignore[attr-defined]

    monkeypatch.setattr(HTTPHeaders, "__init__", made)
    assert not fields._known()
