"""The figures of the benchmark in a container's root, computed from given starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.function.container import build_medians, build_section
from bench.function.container_root import BARE, CACHES, DROPPED, FUNCTION, KINDS, UNCOMPILED, WARM, ContainerStart
from bench.function.process import Start

WALL_MS = {
    ("small, fp32", BARE): 400.0, ("small, fp32", FUNCTION): 300.0, ("small, fp32", UNCOMPILED): 600.0,
    ("small, int8", BARE): 500.0, ("small, int8", FUNCTION): 250.0, ("small, int8", UNCOMPILED): 750.0,
    ("large, int8", BARE): 500.0, ("large, int8", FUNCTION): 400.0, ("large, int8", UNCOMPILED): 750.0,
}  # fmt: skip


def starts() -> Iterator[ContainerStart]:
    """Three starts of each kind, one of them far off; twice as slow with a dropped page cache."""
    for cache in CACHES:
        for off in (1.0, 1.0, 9.0):
            for (artifact, kind), usual_ms in WALL_MS.items():
                wall_ms = usual_ms * off * (2 if cache == DROPPED else 1)
                start = Start(wall_ms=wall_ms, cpu_ms=wall_ms / 2, resident_mb=0, proportional_mb=0, read_mb=3)
                yield ContainerStart(artifact=artifact, kind=kind, cache=cache, start=start)


def test_each_kind_is_compared_with_the_script_in_the_same_root() -> None:
    medians = {(one.artifact, one.cache, one.kind): one for one in build_medians(starts())}
    assert len(medians) == 3 * len(CACHES) * len(KINDS)
    assert medians["small, fp32", WARM, FUNCTION].of_bare == 0.75
    assert medians["small, int8", DROPPED, FUNCTION].wall_ms == 500
    assert (
        medians["small, int8", DROPPED, FUNCTION].of_bare
        == medians["small, int8", DROPPED, FUNCTION].cpu_of_bare
        == 0.5
    )
    assert medians["small, int8", WARM, UNCOMPILED].of_bare == 1.5


def test_only_the_function_as_it_is_packaged_has_a_bar() -> None:
    bars = {(one.artifact, one.kind): one.bar for one in build_medians(starts())}
    assert {key: bar for key, bar in bars.items() if bar} == {
        ("small, fp32", FUNCTION): 0.85, ("small, int8", FUNCTION): 0.6, ("large, int8", FUNCTION): 0.6
    }  # fmt: skip


def test_the_page_has_a_row_for_each_kind_and_losing_ratios_in_bold() -> None:
    section = build_section(build_medians(starts()), 3)
    (table,) = section.tables
    assert {len(row) for row in table.rows} == {len(table.heads)}
    assert table.rows[1] == (FUNCTION, "small, fp32", WARM, "300", "150", "3", "0.75", "0.75", "at most 0.85")
    slow = [replace(one, of_bare=1.2) for one in build_medians(starts())]
    assert [row[6] for row in build_section(slow, 3).tables[0].rows if row[-1]] == ["**1.20**"] * 6


def test_the_summary_has_the_starts_with_a_warm_page_cache() -> None:
    headlines = [one for one in build_section(build_medians(starts()), 3).figures if one.is_headline]
    assert [(one.name.partition(", page")[0], one.value, one.bar) for one in headlines] == [
        ("small, int8, start of large's", 0.625, 0.6),
        ("small, fp32", 0.75, 0.85), ("small, int8", 0.5, 0.6), ("large, int8", 0.8, 0.6),
    ]  # fmt: skip
    assert [headlines[0].measured, headlines[1].measured] == ["250 ms of 400 ms", "300 ms of 400 ms"]
