"""Variants of an image: fixed by (seed, image, variant)."""

import hashlib

import numpy as np

from trainer.data.pixels import augment, variant_in_epoch

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
DIGEST = "ab" * 32


def test_a_variant_is_the_same_every_time_and_differs_from_the_image():
    for variant in (1, 2, 3):
        first, again = (augment(PIXELS, DIGEST, variant) for _ in range(2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, PIXELS)
        assert first.shape == PIXELS.shape
        assert first.dtype == np.uint8
    assert not np.array_equal(augment(PIXELS, DIGEST, 1), augment(PIXELS, DIGEST, 1, seed=1))


def test_odd_variants_are_mirrored_unless_that_is_forbidden():
    for variant in (1, 2):
        upright = augment(PIXELS, DIGEST, variant, mirror=False)
        assert np.array_equal(augment(PIXELS, DIGEST, variant), upright[:, ::-1] if variant == 1 else upright)


def test_half_of_an_epochs_images_are_themselves_and_the_others_new_variants():
    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(64)]
    seen = [[variant_in_epoch(digest, epoch) for digest in digests] for epoch in range(8)]
    for variants in seen:
        assert 16 <= variants.count(0) <= 48
    for number in range(len(digests)):
        assert sorted(variants[number] for variants in seen) == [0, 0, 0, 0, 1, 2, 3, 4]
