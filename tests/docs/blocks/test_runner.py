"""The runner itself: what a reader would meet fails the test, and nothing is left running."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks.block import parse_blocks
from tests.docs.blocks.printed import find_unprinted
from tests.docs.blocks.runner import Transcript, build_environ, run_script, running_group
from tests.docs.blocks.script import build_scripts


def run_page(page: str, tmp_path: Path, **values: str) -> Transcript:
    (script,) = build_scripts("local", parse_blocks("page.md", page))
    folder = tmp_path / "reader"
    folder.mkdir()
    return run_script(script, folder, environ=build_environ(tmp_path), values=values, timeout_s=20)


def test_blocks_share_a_folder_and_a_shell(tmp_path: Path):
    output = run_page("```bash\nNAME=flowers\ntouch a\n```\n\n```sh\nls; echo $NAME\n```\n", tmp_path).outputs
    assert output == {"page.md:2": "", "page.md:7": "a\nflowers\n"}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```bash\nfalse | true\n```\n", "page.md:2: ended with 1"),
        ("```bash\nexit 0\necho never\n```\n", "page.md:2: ended before its last command"),
        ("```bash\nfalse && true\necho on\n```\n", "page.md:2: bash ignores a failure before `&&`"),
        ("```bash\necho $MISSING\n```\n", "MISSING: unbound variable"),
        ("<!-- values -->\n```bash\nA=1\nrm -rf x\n```\n", "only sets variables"),
        ("<!-- fails: 2 -->\n```bash\nexit 3\n```\n", "exit code 3"),
        ("<!-- terminal: ready -->\n```bash\nexit 1\n```\n", "ended before it printed ready"),
        ("```bash\necho a\n```\n\n<!-- printed -->\n```text\nb\n```\n", "not printed now: 'b'"),
    ],
)
def test_what_fails_a_reader_fails_the_test(page: str, message: str, tmp_path: Path):
    with pytest.raises(AssertionError, match=re.escape(message)):
        run_page(page, tmp_path)


def test_a_terminal_of_its_own_is_waited_for_and_ended(tmp_path: Path):
    page = "<!-- terminal: up -->\n```bash\necho $$ >pid; sleep 0.2; echo up; sleep 100\n```\n\n```bash\ncat pid\n```\n"
    process = int(run_page(page, tmp_path).outputs["page.md:7"])
    assert running_group(Path(f"/proc/{process}/stat")) is None


def test_values_are_set_after_the_page_set_its_own(tmp_path: Path):
    page = "<!-- values -->\n```bash\nHOST=elsewhere\nNAME=flowers\n```\n\n```bash\necho $HOST $NAME\n```\n"
    assert run_page(page, tmp_path, HOST="here", OTHER="x").outputs["page.md:8"] == "here flowers\n"


def test_files_of_the_page_are_there(tmp_path: Path):
    page = (
        "<!-- file: app/eaves.yaml -->\n```yaml\nname: flowers\ntrain: {arch: auto}\n```\n\n"
        "<!-- merge: app/eaves.yaml -->\n```yaml\ntrain: {arch: small_cnn}\n```\n\n```bash\ncat app/eaves.yaml\n```\n"
    )
    assert run_page(page, tmp_path).text.endswith("name: flowers\ntrain:\n  arch: small_cnn\n")


def test_a_key_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="no such key in the comment above a block: 'run'"):
        parse_blocks("page.md", "<!-- run: slow -->\n```bash\ntrue\n```\n")


def test_a_quotation_may_differ_in_numbers_only():
    output = "IMAGE   LABEL\n12:01 photos/7.jpg  daisy  0.93\n12:02 photos/8.jpg  roses  0.52\ndone\n"
    assert find_unprinted("IMAGE LABEL\n10:00 photos/1.jpg daisy 0.9\n...\ndone\n", output) is None
    assert find_unprinted("10:00 photos/... 0.9\n", output) is None
    assert find_unprinted("10:00 photos/1.jpg tulips 0.9\n", output) == "10:00 photos/1.jpg tulips 0.9"
    assert find_unprinted("done\nIMAGE LABEL\n", output) == "IMAGE LABEL"
    assert find_unprinted("one every 1.0 s: 1.8 GB a day", "one every 900 ms: 950 MB a day") is None
    assert find_unprinted("one every 1.0 s", "one every 1.0 h") == "one every 1.0 s"
