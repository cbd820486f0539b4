"""The moving picture of the README: small enough to be loaded, and it moves."""

from __future__ import annotations

import itertools

from PIL import Image, ImageChops

from tests.docs.picture import HEIGHT, MOST_BYTES, PICTURE, WIDTH


def test_the_picture_is_small_and_shows_an_answer_that_grows() -> None:
    assert PICTURE.stat().st_size <= MOST_BYTES
    with Image.open(PICTURE) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        steps = []
        for number in range(picture.n_frames):
            picture.seek(number)
            steps.append(picture.convert("L"))
    changes = [ImageChops.difference(one, other).getbbox() is not None for one, other in itertools.pairwise(steps)]
    assert sum(changes) >= 20
