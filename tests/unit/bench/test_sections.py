"""Every section of the benchmarks exists, trains what it says, and replaces its block alone."""

import importlib
import os
from pathlib import Path

from bench.__main__ import SECTIONS
from bench.material import ARCHITECTURES, build_training_words
from bench.measure import Load, build_request, take_turns
from bench.report import replace_blocks
from bench.servers.catalogue import Server, as_jpeg
from bench.servers.running import Running
from tests.ports import find_port
from trainer.__main__ import main


def test_each_section_can_be_loaded():
    for place in SECTIONS.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def turn(*latencies_ms: float, per_second: float = 0.0) -> Load:
    return Load(latencies_ms=latencies_ms, per_second=per_second)


def test_a_server_that_fails_in_its_turn_is_left_out_with_the_reason():
    server = Server(name="KServe", threads="all", command=(), environ={}, encode=as_jpeg)
    gone = Running(server=server, pid=os.getpid(), port=find_port(), request=build_request(b"image"))
    found, failed = take_turns({"KServe": lambda: gone.send(6), "Eaves": lambda: turn(1.0)}, 2)
    assert list(found) == ["Eaves"]
    assert len(found["Eaves"]) == 2
    assert failed["KServe"].startswith("it failed in round 1: ")


def test_the_trainer_takes_the_options_of_each_training(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "weights.h5").touch()
    for arch, has_weights in ARCHITECTURES.items():
        weights = tmp_path / "weights.h5" if has_weights else None
        words = build_training_words(tmp_path / "data", arch, weights, tmp_path / "run")
        context = main.make_context("trainer", [*words, "--seed", "7"])
        assert (context.params["arch"], context.params["output"]) == (arch, str(tmp_path / "run"))


def test_a_measurement_replaces_its_block_alone(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("By hand.\n<!-- one -->\nold\n<!-- /one -->\nBetween.\n<!-- two -->\nkept\n<!-- /two -->\n")
    replace_blocks(page, {"one": "new \\1\n", "unknown": "lost\n"})
    assert page.read_text() == (
        "By hand.\n<!-- one -->\nnew \\1\n<!-- /one -->\nBetween.\n<!-- two -->\nkept\n<!-- /two -->\n"
    )
