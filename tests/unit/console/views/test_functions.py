"""The pages of the functions."""

import re
from dataclasses import replace
from functools import partial

import pytest

from eaves.admin.report import QueueReport
from eaves.errors import EavesError, NotFoundError, PlatformError
from eaves.platform import FunctionStatus
from eaves.platform.status import DeployedStatus, ServedStatus
from eaves.rollout import RolloutReport
from eaves.rollout.state import RevisionReport
from eaves.spool.score_shift import ScoreWindow
from tests.fakes.clock import START, FrozenClock
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.browser import open_console as browser_of
from tests.fakes.console.browser import text_of

OLD, NEW = "ab" * 32, "cd" * 32
LOCAL = FunctionStatus(name="flowers", state="idle", artifact="/artifacts/flowers-3", artifact_digest=NEW)
AT_SITE = FunctionStatus(
    name="flowers",
    state="ready",
    serving=(
        ServedStatus(revision="flowers-00003", percent=90, image=f"f@sha256:{OLD}", artifact_digest=OLD),
        ServedStatus(revision="flowers-00004", percent=10, image=f"f@sha256:{NEW}", artifact_digest=NEW),
    ),
    deployed=DeployedStatus(
        sequence=4, at=START, age_s=60.0, by="ana@line2", image=f"f@sha256:{NEW}", artifact_digest=NEW
    ),
)


class FailingBackend(FakeBackend):
    """A platform that fails in the methods that a test names."""

    failing: dict[str, EavesError]

    def status(self) -> list[FunctionStatus]:
        self._fail("status")
        return self.functions

    def rollback(self, function: str) -> None:
        self._fail("rollback")
        super().rollback(function)

    def _fail(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]


open_console = partial(browser_of, clock=FrozenClock(START + 100))


def test_a_failed_function_shows_reason_and_fix():
    reason = 'answered 500: {"detail": "out of memory"}'
    failed = replace(LOCAL, state="failed", reason=reason, fix="eaves logs flowers")
    browser = open_console(FakeBackend(functions=[failed]))
    for path in ("/functions", "/parts/functions", "/functions/flowers", "/functions/flowers/figures"):
        found = text_of(browser.open(path).text)
        assert "answered 500: out of memory" in found, path
        assert "Try this: eaves logs flowers" in found, path


def test_scores_that_have_shifted_are_told_with_what_to_do():
    windows = tuple(ScoreWindow(artifact="a", source=f"/eaves/mill/{name}", since=START) for name in ("gate", "door"))
    agent = QueueReport(name="flowers", windows=(*windows, ScoreWindow(artifact="b", source="/eaves/mill/yard")))
    found = text_of(
        open_console(FakeBackend(functions=[replace(LOCAL, agents=(agent,))])).open("/functions/flowers").text
    )
    for name in ("gate", "door"):
        assert (
            f"For 1 minute, images of {name} no longer score as those that the model was judged on: check light"
            in found
        )
    assert "yard" not in found


def test_shares_and_both_changes_are_shown_during_a_rollout():
    page = open_console(FakeBackend(functions=[AT_SITE])).open("/functions/flowers").text
    assert re.search(r"flowers-00003 .*90% .*flowers-00004 newest .*10%", text_of(page))
    assert "Deployment 4, 1 minute ago by ana@line2." in text_of(page)
    assert 'href="/functions/flowers/promote"' in page
    assert 'href="/functions/flowers/rollback"' in page


def test_a_canary_on_one_machine_is_shown_as_at_a_site_with_what_was_counted():
    new = RevisionReport(revision="new", percent=10, requests=1010, errors=3, refused=0, mean_ms=20.5)
    old = replace(new, revision="old", percent=90, requests=1090)
    reason = "11 of 20 requests counted"
    rollout = RolloutReport(phase="advancing", reason=reason, revisions=(new, old))
    backend = FakeBackend(functions=[replace(LOCAL, rollout=rollout, audit="right on 3 of 4 audit images")])
    browser = open_console(backend)
    page = browser.open("/functions/flowers").text
    assert "The old model is right on 3 of 4 audit images." in text_of(page)
    shown = r"rollout is advancing 11 of 20 .* new newest 10% 1,010 3 0 20.5 ms – old 90% 1,090 3 0 20.5 ms –"
    assert re.search(shown, text_of(page)), text_of(page)
    assert 'href="/functions/flowers/promote"' in page
    asked = browser.open("/functions/flowers/rollback").text
    assert "The old revision gets every request again at once, and the rollout ends." in text_of(asked)
    back = replace(rollout, phase="rolled-back", reason="it fails", revisions=(replace(new, percent=0), old))
    backend.functions = [replace(LOCAL, rollout=back)]
    page = browser.open("/functions/flowers").text
    assert "rollout is rolled-back it fails" in text_of(page)
    assert 'href="/functions/flowers/promote"' in page
    third = replace(rollout, revisions=(replace(new, revision="third"), old))
    backend.functions = [replace(backend.functions[0], rollout=third)]
    assert browser.submit("/functions/flowers/rollback", {"seen": seen_in(asked)}).status_code == 409


def seen_in(page: str) -> str:
    found = re.search(r'name="seen" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


@pytest.mark.parametrize("change", ["promote", "rollback"])
def test_a_change_is_made_after_a_confirmation(change: str):
    backend = FakeBackend(functions=[AT_SITE])
    browser = open_console(backend)
    page = browser.open(f"/functions/flowers/{change}").text
    assert "flowers-00003 90%, flowers-00004 10%" in text_of(page)
    assert backend.changes == []
    answer = browser.submit(f"/functions/flowers/{change}", {"seen": seen_in(page)})
    assert (answer.status_code, backend.changes) == (303, [(change, "flowers")])
    done = text_of(browser.open(answer.location).text)
    assert ("newest revision was promoted" if change == "promote" else "previous deployment was restored") in done


def test_a_change_is_refused_when_somebody_else_deployed_meanwhile():
    backend = FakeBackend(functions=[LOCAL])
    browser = open_console(backend)
    seen = seen_in(browser.open("/functions/flowers/rollback").text)
    backend.functions = [replace(LOCAL, artifact="/artifacts/flowers-4")]
    answer = browser.submit("/functions/flowers/rollback", {"seen": seen})
    assert answer.status_code == 409
    assert "The deployment has changed since this page was shown." in answer.text
    assert backend.changes == []
    assert browser.submit("/functions/flowers/rollback").status_code == 409
    again = browser.submit("/functions/flowers/rollback", {"seen": seen_in(answer.text)})
    assert (again.status_code, backend.changes) == (303, [("rollback", "flowers")])


def test_a_change_that_fails_shows_the_error_with_its_hint():
    backend = FailingBackend(functions=[LOCAL])
    backend.failing = {"rollback": NotFoundError("it was deployed only once", hint="eaves deploy")}
    browser = open_console(backend)
    seen = seen_in(browser.open("/functions/flowers/rollback").text)
    answer = browser.submit("/functions/flowers/rollback", {"seen": seen})
    assert answer.status_code == 404
    assert "it was deployed only once Try this: eaves deploy" in text_of(answer.text)


def test_a_read_only_console_offers_and_makes_no_change():
    backend = FakeBackend(functions=[AT_SITE])
    seen = seen_in(open_console(backend).open("/functions/flowers/promote").text)
    browser = open_console(backend, read_only=True)
    page = browser.open("/functions/flowers").text
    assert '<form method="post"' not in page
    assert "/functions/flowers/promote" not in page
    assert browser.open("/functions/flowers/promote").status_code == 403
    assert browser.submit("/functions/flowers/promote", {"seen": seen}).status_code == 403
    assert backend.changes == []


def test_a_platform_that_can_not_be_asked_is_named_in_pages_and_in_parts():
    backend = FailingBackend(functions=[LOCAL])
    backend.failing = {"status": PlatformError("`eaves up` doesn't answer", hint="eaves status")}
    browser = open_console(backend)
    page, part = browser.open("/functions"), browser.fetch("/parts/functions")
    assert (page.status_code, part.status_code) == (503, 503)
    assert "`eaves up` doesn't answer Try this: eaves status" in text_of(page.text).replace("'", "'")
    assert "<html" in page.text
    assert "<html" not in part.text
