"""Log lines: one JSON object each, with what a call passes as extra."""

import contextvars
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

from eaves.logs import JsonFormatter, PlainFormatter, bind
from tests.processes.commands import run_code


def test_a_record_becomes_one_line_of_json():
    record = logging.LogRecord("functions.routes", logging.WARNING, "x.py", 1, "grün\n%s", ("line",), None)
    record.created, record.msecs = 1_795_521_600.25, 250.0
    record.event_id, record.path = "1", {"not": "plain", "set": {1}}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-24T12:00:00.250Z",
        "level": "warning",
        "logger": "functions.routes",
        "message": "grün\nline",
        "event_id": "1",
        "path": {"not": "plain", "set": "{1}"},
    }


def test_a_threads_records_have_what_it_has_bound_and_so_do_those_of_threads_with_its_context():
    found: dict[str, str | None] = {}

    def log(name: str, **extra: str) -> None:
        record = logging.getLogger("a").makeRecord("a", logging.INFO, "x.py", 1, "m", (), None, extra=extra)
        found[name] = json.loads(JsonFormatter().format(record)).get("source")

    def work() -> None:
        bind(source="/eaves/home/gate")
        log("another", source="/eaves/home/hall")
        with ThreadPoolExecutor() as pool:
            pool.submit(contextvars.copy_context().run, log, "child").result()

    with ThreadPoolExecutor() as pool:
        pool.submit(work).result()
    log("outside")
    assert found == {"another": "/eaves/home/hall", "child": "/eaves/home/gate", "outside": None}


def test_an_extra_field_never_hides_one_of_ours():
    record = logging.LogRecord("a", logging.INFO, "x.py", 1, "m", (), None)
    expected = json.loads(JsonFormatter().format(record))
    record.time = record.level = record.logger = "forged"
    found = json.loads(JsonFormatter().format(record))
    assert {key: found[key] for key in expected} == expected


def test_no_formatter_shows_a_password():
    secret = 'mqtt://me:hunter2@broker/ and http://cam/snap?token="hunter2"&pwd=hunter2'
    try:
        raise ValueError(f"no way to {secret}\n")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "p", 1, "to %s", (secret,), sys.exc_info())
    record.address = secret
    for formatter in (JsonFormatter(), PlainFormatter()):
        text = formatter.format(record)
        assert "hunter2@" not in text
        assert "pwd=hunter2" not in text
        assert "mqtt://***@broker/" in text
    json.loads(JsonFormatter().format(record))


def test_notes_that_a_library_logs_without_a_name_are_not_shown():
    """In a process of its own, because `configure` changes the whole process."""
    code = (
        "import logging; from eaves import logs; logs.configure(as_json=False); logging.info('a note'); "
        "logging.warning('a warning'); logging.getLogger('eaves').info('news')"
    )
    done = run_code(code, check=True)
    assert [line.rpartition(" ")[2] for line in done.stderr.splitlines()] == ["warning", "news"]
