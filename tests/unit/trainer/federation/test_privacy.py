"""Which images a site's next file has, and how much noise hides one."""

import numpy as np
import pytest

from trainer.federation.privacy import DELTA, History, add_noise, choose_images, find_released, find_scale, record
from trainer.model.feature_sums import FeatureSums, SumsOrigin


def name(label: str, *numbers: int) -> dict[str, tuple[str, str]]:
    return {f"{number:04}": (label, f"g{number}") for number in numbers}


def test_a_class_waits_until_it_differs_enough_from_every_file_and_not_only_from_the_last():
    first, second = name("a", *range(40)), name("a", *range(20))
    history = record(record({}, first, 0), second, 1)
    assert find_released(history, 0b11).keys() == second.keys()
    chosen = choose_images(name("a", *range(39), 90), history, 0b11, 20)  # 20 more than the second, two off the first
    assert chosen.images.keys() == second.keys()
    assert chosen.waiting == {"a": 20}
    assert choose_images(first, history, 0b11, 20).images == first
    assert not choose_images(name("b", *range(19)), {}, 0, 20).images


def test_an_image_of_another_class_now_is_never_in_both():
    history = record({}, name("a", *range(40)) | name("b", *range(100, 140)), 0)
    moved = name("a", *range(1, 40)) | name("b", *range(100, 140), *range(200, 230), 0)
    chosen = choose_images(moved, history, 0b1, 20)
    assert chosen.images["0000"][0] == "a"
    assert len(chosen.images) == 80
    assert chosen.waiting == {"a": 1, "b": 31}


def test_images_of_another_class_hide_no_single_image_that_is_new():
    """They are in the sums over all classes before and after, so that the difference would be the new one alone."""
    history = record({}, name("a", *range(80)) | name("b", *range(100, 140)), 0)
    moved = name("a", *range(30, 80)) | name("b", *range(100, 140), *range(30))
    assert choose_images(moved, history, 0b1, 20).images == moved
    assert len(choose_images(moved | name("b", 200), history, 0b1, 20).images) == 120
    more = moved | name("c", *range(300, 330))
    assert choose_images(more, history, 0b1, 20).images == more
    assert "0200" not in choose_images(more | name("b", 200), history, 0b1, 20).images
    corrected = name("a", *range(3, 80)) | name("b", *range(100, 140), *range(3), *range(200, 217))
    assert choose_images(corrected, history, 0b1, 20).images.keys() == history_keys(history)
    enough = corrected | name("a", *range(220, 240))
    assert choose_images(enough, history, 0b1, 20).images == enough


def history_keys(history: History) -> set[str]:
    return {digest for digest, _ in history}


def test_no_files_of_a_site_differ_by_few_images_of_any_classes_together():
    rng, minimum = np.random.default_rng(0), 4
    history: History = {}
    current, files = dict[str, tuple[str, str]](), list[dict[str, tuple[str, str]]]()
    for step in range(60):
        for number in rng.integers(0, 60, rng.integers(1, 12)):
            label = "abc-"[rng.integers(4)]
            current = {digest: about for digest, about in current.items() if digest != f"{number:04}"}
            current |= name(label, number) if label != "-" else {}
        images = dict(choose_images(current, history, (1 << len(files)) - 1, minimum).images)
        history = record(history, images, len(files))
        for before in (*files, {}):
            for classes in ("a", "b", "c", "ab", "ac", "bc", "abc"):
                old, new = ({d for d, (label, _) in one.items() if label in classes} for one in (before, images))
                assert not 0 < len(old ^ new) < minimum, step
        files.append(images)
    assert len({frozenset(file.items()) for file in files}) > 10


@pytest.mark.parametrize(("epsilon", "scale"), [(1.0, 3.7306), (0.5, 6.9902)])
def test_the_noise_is_that_of_the_analytic_gaussian_mechanism(epsilon: float, scale: float):
    assert DELTA == 1e-5
    assert find_scale(epsilon) == pytest.approx(scale, rel=0.01)
    sums = FeatureSums.empty(("a", "b"), SumsOrigin(), np.zeros((1, 200)))
    noisy = add_noise(sums, 2.0, epsilon, np.random.default_rng(0))
    assert noisy.totals.std() == pytest.approx(2 * np.sqrt(3) * scale, rel=0.2)
    assert (np.linalg.eigvalsh(noisy.products[0]) > -1e-6).all()
