"""The figures of the experiment are well-formed, and show what the results hold."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from bench.link.plots.figures import draw_course, draw_crossover, draw_links, draw_update
from bench.plots.svg import Axis, Chart

SVG = "{http://www.w3.org/2000/svg}"


def result(link: str = "down") -> dict[str, Any]:
    def images(wait_s: float) -> list[dict[str, Any]]:
        shared = {"size_bytes": 1000, "in_cloud_s": None}
        return [
            {"name": f"{at}.jpg", "at_s": float(at), "state": "up", "predicted_s": wait_s + at / 1000, **shared}
            for at in range(60)
        ]

    rest = {"lost": 0, "repeated": 0, "bytes_up": 1, "bytes_down": 1, "drain_s": 1.0}
    return {
        "link": link,
        "text": "as good & more",
        "seconds": 60.0,
        "phases": [(0.0, "up"), (20.0, "down"), (40.0, "up")],
        "kills": [(5.0, "agent"), (50.0, "relay")],
        "arms": {"edge": {"images": images(0.2), **rest}, "cloud": {"images": images(20.0), **rest}},
    }


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_each_link_has_a_row_with_both_arms() -> None:
    svg = draw_links([result("good"), result("slow")])
    assert {"good", "slow", "as good & more"} <= set(texts(svg))
    dots = [one for one in ElementTree.fromstring(svg).iter(f"{SVG}circle") if one.get("r") == "5.5"]
    assert len(dots) == 4
    edge, cloud = (float(one.get("cx", "0")) for one in dots[:2])
    assert edge < cloud


def test_a_course_shows_each_photo_the_kills_and_when_the_link_was_away() -> None:
    root = ElementTree.fromstring(draw_course(result()))
    assert sum(one.get("r") == "1.7" for one in root.iter(f"{SVG}circle")) == 120
    assert len(list(root.iter(f"{SVG}path"))) == 3  # two kills, and the legend's
    (band,) = (one for one in root.iter(f"{SVG}rect") if one.get("height") == "300")
    assert float(band.get("width", "0")) * 3 == 760 or abs(float(band.get("width", "0")) * 3 - 760) < 1


def test_the_crossover_has_a_curve_for_each_size_and_a_level_for_a_slow_edge() -> None:
    sizes = (50_000, 1_000_000)
    points = [
        {"mbit_s": mbit_s, "size_bytes": size, "expected_s": 1.0, "edge_s": 0.2, "cloud_s": 1.0}
        for mbit_s in (1.0, 20.0)
        for size in sizes
    ]
    svg = draw_crossover({"points": points, "delay_ms": 50}, 0.9)
    assert {"50 KB", "1.0 MB", "E - C = 0.9 s"} <= set(texts(svg))
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}polyline"))) == 3
    without = draw_crossover({"points": points, "delay_ms": 50}, None)
    assert len(list(ElementTree.fromstring(without).iter(f"{SVG}polyline"))) == 2


def test_titles_say_what_the_results_hold() -> None:
    assert "Half of the photos: within 0.23 s at the edge on every link, up to 20.0 s cloud-only" in texts(
        draw_links([result("good"), result("slow")])
    )
    course = result()
    for number, image in enumerate(image for arm in course["arms"].values() for image in arm["images"]):
        image["state"] = "down" if 20 <= number % 60 < 40 else "up"
    (title,) = (text for text in texts(draw_course(course)) if text.startswith("Edge median"))
    assert title == "Edge median: 0.22 s with the link up, 0.23 s with it down; cloud-only waits for the link"


def test_an_update_says_how_many_requests_failed() -> None:
    update = {
        "text": "a new head",
        "seconds": 10.0,
        "layer_bytes": 45_000,
        "cuts": [(1.0, 5.0)],
        "failed": [],
        "progress": [(0.5, 1000), (10.0, 45_000)],
        "asked": [(0.0, 0.2), (1.0, None)],
    }
    svg = draw_update([update])
    assert "2 requests meanwhile, 1 failed" in texts(svg)
    assert re.search(r'aria-label="a new head: 45000 bytes, 10 s"', svg)


def test_a_logarithmic_axis_puts_ten_in_the_middle_of_one_and_a_hundred() -> None:
    axis = Axis(title="", low=1, high=100, ticks=(), log=True)
    chart = Chart(x=axis, y=axis, left=0, top=0, width=100, height=100)
    assert chart.at(10, 100) == (50, 0)
    assert chart.at(0.001, 1e9) == (0, 0)
