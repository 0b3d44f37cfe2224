import tracemalloc

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.history.recent_images import OVERHEAD_BYTES, RecentImages


def image(source: str, number: int, size: int = 1_000) -> Event:
    return Event(
        id=str(number), source=source, type=IMAGE_CAPTURED, datacontenttype="image/jpeg", data=bytes(size), subject="a"
    )


def test_only_images_are_held():
    held = RecentImages()
    held.add(Event(id="1", source="/a", type=IMAGE_CLASSIFIED, datacontenttype="application/json", data=b"{}"))
    held.add(Event(id="2", source="/a", type=IMAGE_CAPTURED, datacontenttype="image/jpeg", data=b""))  # a dataref
    held.add(Event(id="3", source="/a", type=IMAGE_CAPTURED, data=b"x"))
    assert not any(held.find("/a", number) for number in "123")


def test_the_newest_image_of_a_slow_source_outlives_those_of_a_fast_one():
    held = RecentImages(10 * (1_000 + OVERHEAD_BYTES) + 500)
    held.add(image("/slow", 0))
    for number in range(1_000):
        held.add(image("/fast", number))
    assert held.find("/slow", "0") is not None
    assert held.find("/fast", "999") is not None
    assert held.find("/fast", "100") is None


def test_a_month_of_images_of_all_sizes_stays_within_the_limit():
    held = RecentImages(1_000_000)
    tracemalloc.start()
    try:
        for number in range(20_000):
            held.add(image(f"/source-{number % 7}", number, size=1 + number * 7919 % 30_000))
        full, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            held.add(image(f"/source-{number % 7}", -number, size=1))  # thousands of tiny images fit
        tiny, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert full < 1_200_000
    assert tiny < 1_200_000
