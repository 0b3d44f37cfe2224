"""Variants of an image: fixed by (seed, image, variant)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from trainer.data.augmentation import Augmentation, variant_in_epoch

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
DIGEST = "ab" * 32


@pytest.mark.parametrize("variant", [1, 2, 3])
def test_a_variant_is_the_same_every_time_and_differs_from_the_image(variant: int) -> None:
    first, again = (Augmentation().apply(PIXELS, DIGEST, variant) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, PIXELS)
    assert first.shape == PIXELS.shape
    assert first.dtype == np.uint8


def test_views_stay_within_the_image_and_the_limits() -> None:
    made = Augmentation(crop=0.3, brightness=0.1)
    for number in range(200):
        view = made.view(f"{number:064x}", 1 + number % 3)
        left, top, right, bottom = view.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert right - left >= 0.7 - 1e-9
        assert 0.9 <= view.brightness <= 1.1
        assert view.flip == (number % 3 % 2 == 0)


def test_nothing_to_crop_or_light_leaves_the_mirror_image_or_the_image() -> None:
    mirrored = Augmentation(crop=0.0, brightness=0.0).apply(PIXELS, DIGEST, 1)
    assert np.array_equal(mirrored, PIXELS[:, ::-1])
    upright = Augmentation(crop=0.0, brightness=0.0, mirror=False)
    assert all(np.array_equal(upright.apply(PIXELS, DIGEST, variant), PIXELS) for variant in range(8))


def test_half_of_an_epochs_images_are_themselves_and_the_others_new_variants() -> None:
    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(64)]
    seen = [[variant_in_epoch(digest, epoch) for digest in digests] for epoch in range(8)]
    for variants in seen:
        assert 16 <= variants.count(0) <= 48
    for number in range(len(digests)):
        assert sorted(variants[number] for variants in seen) == [0, 0, 0, 0, 1, 2, 3, 4]
