"""Two checkouts are compared by pairs: a ratio above 1 is always worse, and one that may be above 1.03 fails."""

from pathlib import Path

from bench.compare import Arm, Measure, build_table, take_pairs
from bench.measure import Sink

TIME = Measure(name="time, ms", once=lambda arm, _: 100.0 if arm.root.name == "base" else 102.0)
RATE = Measure(name="rate, /s", once=lambda arm, _: 50.0 if arm.root.name == "base" else 40.0, is_rate=True)


def test_pairs_take_turns_and_the_first_is_not_counted():
    arms = [Arm(root=Path(name), artifact=Path(), image=Path()) for name in ("base", "ours")]
    order: list[str] = []

    def once(arm: Arm, _: Sink) -> float:
        order.append(arm.root.name)
        return TIME.once(arm, _)

    found = take_pairs([Measure(name="time, ms", once=once)], arms, Sink(), 2)
    assert found == {"time, ms": [(100.0, 102.0)] * 2}
    assert order == ["ours", "base", "base", "ours", "ours", "base"]


def test_a_ratio_has_limits_and_a_worse_rate_is_above_one():
    pairs = {"time, ms": [(100.0, 102.0)] * 20, "rate, /s": [(50.0, 40.0)] * 20}
    table, is_met = build_table([TIME], pairs)
    assert is_met
    assert table.rows == (("time, ms", "100.00", "102.00", "1.020", "1.020", "1.020"),)
    table, is_met = build_table([TIME, RATE], pairs)
    assert not is_met
    assert table.rows[1] == ("rate, /s", "50.00", "40.00", "1.250", "1.250", "**1.250**")


def test_the_limit_is_the_interval_s_not_the_median_s():
    values = [(100.0, 100.0)] * 12 + [(100.0, 110.0)] * 8
    table, is_met = build_table([TIME], {"time, ms": values})
    assert table.rows[0][3:] == ("1.000", "1.000", "**1.100**")
    assert not is_met
