"""The tables of the experiment show what the results hold."""

from __future__ import annotations

from typing import Any

from bench.link.page import build_tables
from bench.processes import ROOT


def result(link: str = "down") -> dict[str, Any]:
    def images(wait_s: float) -> list[dict[str, Any]]:
        shared = {"size_bytes": 1000, "in_cloud_s": None}
        return [
            {
                "name": f"{at}.jpg",
                "at_s": float(at),
                "state": "down" if 20 <= at < 40 else "up",
                "predicted_s": wait_s + at / 1000,
                **shared,
            }
            for at in range(60)
        ]

    rest = {"lost": 0, "repeated": 0, "bytes_up": 60, "bytes_down": 0, "drain_s": None, "audit": {"exit_code": 0}}
    return {
        "link": link,
        "text": "as good & more",
        "model": "tiny",
        "at": "2026-12-01",
        "load": [1.0],
        "seconds": 60.0,
        "kills": [(5.0, "agent"), (50.0, "relay")],
        "arms": {"edge": {"images": images(0.2), **rest}, "cloud": {"images": images(20.0), **rest}},
    }


def test_each_table_has_the_results_of_each_link_and_a_place_on_the_page() -> None:
    tables = build_tables([result("good"), result("down")])
    page = (ROOT / "docs/18-link-experiment.md").read_text()
    assert all(f"<!-- {name} -->" in page and f"<!-- /{name} -->" in page for name in tables)
    assert [row[:6] for row in tables["links"].rows] == [
        ("good, as good & more", "predicted at the edge", "60", "229 ms", "256 ms", "259 ms"),
        ("", "cloud-only", "60", "20.0 s", "20.1 s", "20.1 s"),
        ("down, as good & more", "predicted at the edge", "60", "229 ms", "256 ms", "259 ms"),
        ("", "cloud-only", "60", "20.0 s", "20.1 s", "20.1 s"),
    ]
    assert [row[:2] for row in tables["kills"].rows] == [("agent", "2"), ("relay", "2")]
    assert tables["undisturbed"].rows[0][:3] == ("good", "1", "49 of 60")
    assert tables["ratio"].rows[0][:4] == ("good", "245 ms (29)", "229 ms (20)", "-6.5%")
    assert tables["runs"].rows[0] == ("good", "2026-12-01", "tiny", "1", "1", "agent 1, relay 1", "0")
