"""The page shows what was measured, where, and what was not."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from bench.report.page import anchor, render_page, render_table, write_page
from bench.report.section import Table
from bench.report.store import load_results, save_results
from tests.unit.bench.results import INTEL, PARTS, build_figure, build_missing, build_result


def test_the_summary_has_each_bar_and_a_losing_figure_in_bold() -> None:
    page = render_page({"speed": build_result(build_figure(0.99), build_figure(1.72))}, PARTS)
    assert "| [Speed, measured](#speed-measured) | of the floor | 0.99 | at most 1.05 |" in page
    assert "|  | of the floor | **1.72** | at most 1.05 |" in page
    assert "2 CPUs (AMD EPYC, avx2), 24 GB" in page


def test_the_summary_leaves_out_details_that_meet_their_bar() -> None:
    kept, missed = build_figure(1.0, is_headline=False), build_figure(1.5, is_headline=False)
    summary = render_page({"speed": build_result(kept, missed)}, PARTS).partition("## Speed")[0]
    assert "1.00" not in summary
    assert "**1.50**" in summary


def test_a_part_without_a_result_says_why() -> None:
    page = render_page({"start": build_missing("it needs root")}, PARTS)
    assert "Not measured in this run: it needs root (2026-11-26 17:00 UTC, 2 CPUs" in page
    assert "Not measured in this run: this part was not run." in page
    assert page.count("| not measured |") == 2


def test_results_of_two_machines_name_the_machine_of_each() -> None:
    page = render_page(
        {"speed": build_result(build_figure(1.0)), "start": build_result(build_figure(1.0), machine=INTEL)}, PARTS
    )
    summary = page.partition("## Speed")[0]
    assert "| values | machine |" in summary
    assert "| 2 CPUs (AMD EPYC, avx2), 24 GB |" in summary
    assert "| 8 CPUs (Intel Xeon), 64 GB |" in summary
    assert "Measured on 2026-11-26 17:00 UTC on 8 CPUs (Intel Xeon), 64 GB" in page


def test_stored_results_make_the_same_page(tmp_path: Path) -> None:
    results = {"speed": build_result(build_figure(1.2)), "start": build_missing("it needs root")}
    save_results(results, tmp_path / "bench/results.json")
    assert load_results(tmp_path / "bench/results.json") == results
    assert load_results(tmp_path / "nothing.json") == {}


def test_charts_are_written_beside_the_page_and_old_ones_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "benchmark-old.svg").write_text("<svg/>")
    page = write_page({"speed": build_result(build_figure(1.2))}, tmp_path, PARTS).read_text()
    assert [path.name for path in tmp_path.glob("*.svg")] == ["benchmark-speed.svg"]
    assert "![Speed, ms](benchmark-speed.svg)" in page
    ElementTree.parse(tmp_path / "benchmark-speed.svg")


def test_numbers_are_aligned_to_the_right_and_texts_are_not() -> None:
    table = Table(heads=("name", "ms"), rows=(("a|b", "1.5"), ("c", "**2 ms**")))
    assert render_table(table).splitlines() == ["| name | ms |", "| --- | ---: |", "| a/b | 1.5 |", "| c | **2 ms** |"]


def test_an_anchor_is_the_one_of_a_heading() -> None:
    assert anchor("Start of a process, and memory") == "start-of-a-process-and-memory"
