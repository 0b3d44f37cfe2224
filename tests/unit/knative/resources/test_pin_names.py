"""How pins of container images are named."""

from knative.resources.function import is_pin_name, pin_name
from tests.cluster.apps import IMAGE


def test_a_name_tells_the_container_image_and_the_nodes_and_is_distinguished_from_others():
    plain = pin_name("flowers", IMAGE, {})
    shelf = pin_name("flowers", IMAGE, {"shelf": "1", "edge": "yes"})
    assert plain == "flowers-pin-bbbbbbbb"
    assert shelf.startswith(f"{plain}-")
    assert shelf == pin_name("flowers", IMAGE, {"edge": "yes", "shelf": "1"})
    assert shelf != pin_name("flowers", IMAGE, {"shelf": "2", "edge": "yes"})
    assert len(pin_name("a" * 40, IMAGE, {"edge": "yes"})) <= 58, "a pod's name adds five characters, and has 63"
    assert all(is_pin_name("flowers", name) for name in (plain, shelf))
    assert not any(is_pin_name("flowers", name) for name in ("flowers-pin-camera", "flowers-barn-camera"))
    assert not is_pin_name("flower", plain)
