"""Settings of the rollout of a new revision: the section `rollout` of eaves.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Settings of the rollout of a new revision: the section `rollout` of eaves.yaml."""

    steps: tuple[str, ...] = setting(
        ("10", "50"),
        "Shares of requests, in percent, that the new revision gets step by step before it gets all; the last "
        "step decides fastest at 50.",
    )
    step_s: float = setting(60.0, "Minimum duration of each step, seconds.", minimum=1, maximum=86400)
    deadline_s: float = setting(
        43200.0,
        "Seconds after which a rollout whose step is still undecided is held for a user to decide: the old revision "
        "gets all requests, and the new one is never promoted automatically.",
        minimum=1,
        maximum=30 * 86400,
    )
    min_requests: int = setting(
        20,
        "Minimum number of requests that the new revision must have answered in a step before it is judged.",
        minimum=1,
    )
    max_error_increase: float = setting(
        0.01,
        "Maximum increase of the share of failed requests (5xx), and of refused ones (4xx), over the old revision's. "
        "The last step passes "
        "only if such an increase is ruled out, which takes about 460 requests at 0.01, 75 at 0.05 and 35 at 0.1 "
        "if none fails.",
        minimum=0,
        maximum=1,
    )
    max_latency_ratio: float = setting(
        1.5,
        "Maximum ratio of the new revision's mean time for a prediction to the old revision's.",
        minimum=1,
        maximum=100,
    )

    def percents(self) -> tuple[int, ...]:
        """Return the share of the new revision in each step of a rollout in percent; the last one is 100."""
        return (*(int(step) for step in self.steps), 100)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        numbers = [int(step) if step.isdecimal() else 0 for step in self.steps]
        if any(not 1 <= number <= 99 for number in numbers) or numbers != sorted(set(numbers)):
            yield "steps", f"must be increasing whole numbers from 1 to 99 (got {', '.join(self.steps)})"
