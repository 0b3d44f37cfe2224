"""Names of objects in the namespace of the agents on nodes, which apps of many namespaces share."""

from knative.resources.agent import MAX_NAME, build_name


def test_names_beside_apps_of_other_namespaces_are_short_and_unlike_theirs():
    assert build_name("flowers", "cams", "camera") == "flowers-cams-camera"
    alike = [("a-b", "c", "d"), ("a", "b-c", "d"), ("a", "b", "c-d"), ("a-b", "c-d"), ("a", "b", "c", "d")]
    names = [build_name(*parts) for parts in alike]
    assert len(set(names)) == len(names)
    long = build_name("f" * 40, "n" * 63, "s" * 40)
    assert len(long) == MAX_NAME
    assert long != build_name("f" * 40, "n" * 63, "s" * 39)
