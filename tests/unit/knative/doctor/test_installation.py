"""Plain package names: whether they are ours alone, and which ones Python would import."""

from __future__ import annotations

from pathlib import Path

from knative.doctor import ERROR, OK, DoctorFinding, check_owners, worst
from knative.doctor.installation import NAMES

HOME = Path("/site-packages")
PLACES: dict[str, Path | None] = dict.fromkeys(NAMES, HOME)
OWNERS = {name: ["eaves"] for name in NAMES}


def test_here_they_are_ours() -> None:
    """Beside this test; an editable install lists no names at all."""
    assert [one.severity for one in check_owners()] == [OK]
    assert [one.severity for one in check_owners({}, PLACES)] == [OK]


def test_another_distribution_with_a_name_of_ours() -> None:
    (found,) = check_owners({**OWNERS, "trainer": ["eaves", "trainer-lib"]}, PLACES)
    assert found.severity == ERROR
    assert found.message.startswith("the package trainer is also installed by trainer-lib, and the distribution that")
    assert found.fix == (
        "pip uninstall trainer-lib && pip install --force-reinstall --no-deps .   # in a checkout of Eaves"
    )


def test_a_folder_that_hides_ours() -> None:
    (found,) = check_owners(OWNERS, {**PLACES, "functions": Path("/home/jane/work")})
    assert found.severity == ERROR
    assert "/home/jane/work" in found.message
    assert found.fix == "rename /home/jane/work/functions, or start in another folder"


def test_a_package_that_is_missing() -> None:
    (found,) = check_owners(OWNERS, {**PLACES, "converters": None})
    assert "imported from nowhere" in found.message


def test_the_worst_of_nothing_is_well() -> None:
    assert worst([]) == OK
    assert (
        worst(
            [
                DoctorFinding(severity="note", check="x", message=""),
                DoctorFinding(severity=ERROR, check="x", message=""),
            ]
        )
        == ERROR
    )
