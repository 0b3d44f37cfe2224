"""How many requests a site is sent: links are slow, and each costs a round trip."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.sites import IMAGE, OTHER, Sites, open_sites
from tests.fakes.kubernetes.apiserver import Request

FIRST_DEPLOY, NEXT_DEPLOY, RECONCILE = 34, 36, 25
"""Requests of `deploy` with its wait and the begin of its rollout, and of `reconcile` where nothing has drifted.

A deploy also reads the inventory three times, and once more each second that it takes, which isn't counted.
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Sites]:
    with open_sites(tmp_path, 1) as sites:
        yield sites


def run(site: Sites, *words: str) -> list[Request]:
    """The requests of one command."""
    log = site.clusters["s000"].log
    before = len(log)
    result = site.run(*words, "--all")
    assert result.exit_code == 0, result.output
    return log[before:]


def render(requests: list[Request]) -> str:
    return "\n".join(f"{one.method} {one.path} {dict(one.query)}" for one in requests)


def test_a_deploy_sends_no_more_requests_than_it_needs(site: Sites):
    for words, most in ((("deploy", IMAGE, "--offline"), FIRST_DEPLOY), (("deploy", OTHER, "--offline"), NEXT_DEPLOY)):
        sent = run(site, *words)
        looks = [one for one in sent if one.method == "GET" and one.path.endswith("/eaves-inventory-flowers")]
        assert len(sent) - len(looks) <= most, render(sent)
        assert len(looks) >= 3


def test_a_reconcile_reads_nothing_twice_but_what_may_have_changed(site: Sites):
    run(site, "deploy", IMAGE, "--offline")
    for _ in range(2):
        sent = run(site, "reconcile")
        assert len(sent) <= RECONCILE, render(sent)
        read = Counter((one.path, str(dict(one.query))) for one in sent if one.method == "GET")
        often = {path.rpartition("/")[2]: count for (path, _), count in read.items() if count > 1}
        # The inventory when it is decided and before the Service is applied; the Service when it is compared and before
        # it is applied, after that, and to advance.
        assert often == {"eaves-inventory-flowers": 2, "flowers": 4}
        lists = {one.path.rpartition("/")[2] for one in sent if "labelSelector" in one.query}
        assert lists == {"subscriptions"}, "objects are read by their names"
