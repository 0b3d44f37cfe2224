"""The recipe: pixels to tensor, the same for training and serving."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from eaves.errors import ArtifactError
from eaves.recipe import Recipe, parse_recipe

Resize = Literal["stretch", "crop", "pad"]
RESIZES: tuple[Resize, ...] = ("stretch", "crop", "pad")


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(8, 8), (30, 10), (10, 30), (1, 1), (1, 400), (400, 1)])
def test_every_image_becomes_the_shape_that_the_recipe_says(resize: Resize, size: tuple[int, int]):
    tensor = Recipe(height=12, width=20, resize=resize).apply(np.full((*size, 3), 200, np.uint8))
    assert tensor.shape == (12, 20, 3)
    assert tensor.dtype == np.uint8


def test_an_image_of_the_right_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for resize in RESIZES:
        assert np.array_equal(Recipe(height=5, width=7, resize=resize).apply(image), image)


def test_crop_keeps_the_centre_and_its_proportions():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, :10] = 255
    assert Recipe(height=10, width=10, resize="crop", filter="bilinear").apply(image)[:, 2:].max() == 0
    image[:, 10:20] = 77
    assert np.all(Recipe(height=5, width=5, resize="crop").apply(image)[:, 1:-1] == 77)


def test_pad_surrounds_the_whole_image_with_grey():
    tensor = Recipe(height=20, width=20, resize="pad").apply(np.full((10, 20, 3), 7, np.uint8))
    assert np.all(tensor[5:15] == 7)
    assert np.all(tensor[:5] == 128)
    assert np.all(tensor[15:] == 128)


def test_uint8_tensors_are_left_to_the_graph():
    recipe = Recipe(height=2, width=2, multiply=0.0, add=9.0)
    assert np.all(recipe.apply(np.full((2, 2, 3), 5, np.uint8)) == 5)


def test_recipes_that_differ_in_one_field_have_different_digests():
    changes: dict[str, Any] = {"height": 9, "width": 9, "resize": "pad", "filter": "lanczos", "multiply": 1, "add": 1}
    recipe = Recipe(height=8, width=8)
    digests = {replace(recipe, **{name: value}).digest() for name, value in changes.items()}
    assert len(digests | {recipe.digest(), Recipe(height=8, width=8).digest()}) == len(changes) + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"rotate": 90},
        {"version": 2},
        {"version": True},
        {"layout": "NCHW"},
        {"resize": "fit"},
        {"resize": ["pad"]},
        {"filter": "nearest"},
        {"filter": ["bilinear"]},
        {"dtype": "float16"},
        {"height": 0},
        {"height": -8},
        {"height": 5000},
        {"height": "8"},
        {"height": 8.5},
        {"height": True},
        {"height": None},
        {"width": float("inf")},
        {"width": float("nan")},
        {"multiply": "1"},
        {"multiply": float("nan")},
        {"multiply": None},
        {"add": float("inf")},
        {"add": []},
    ],
    ids=str,
)
def test_what_this_version_would_serve_differently_is_refused(changes: dict[str, Any]):
    with pytest.raises(ArtifactError):
        parse_recipe({**Recipe(height=8, width=8).to_dict(), **changes})


def test_the_refusal_names_unknown_fields_and_what_to_do():
    with pytest.raises(ArtifactError, match="unknown fields: rotate, zoom") as caught:
        parse_recipe({**Recipe(height=8, width=8).to_dict(), "zoom": 1, "rotate": 2})
    assert caught.value.hint == "update Eaves"
