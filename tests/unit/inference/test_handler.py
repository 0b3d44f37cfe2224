"""handler.py: what it may define, and that its own errors are distinguished from bad input."""

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eaves.artifact import TensorSpec
from eaves.errors import HandlerError, ImageError, InputError
from eaves.inference.handler import Handler, open_handler

SPEC = TensorSpec(name="image", dtype="uint8", shape=(-1, 2, 3))
OUTPUTS = {"logits": np.array([0.5, 2.0], np.float32), "probabilities": np.array([0.1, 0.9], np.float32)}


def load(source: str) -> Handler:
    return open_handler(source.encode(), Path("/somewhere/handler.py"), SPEC)


def before(body: str) -> Any:
    return load(f"import numpy as np\nfrom eaves.errors import *\ndef preprocess(data):\n    {body}\n").preprocess


def behind(body: str) -> Any:
    return load(f"import numpy as np\nfrom eaves.errors import *\ndef postprocess(outputs):\n    {body}\n").postprocess


FAULTS = {
    "a value error": ("raise ValueError('no luck')", r"failed: ValueError: no luck \(line 4\)"),
    "an end": ("raise SystemExit(3)", r"failed: SystemExit: 3 \(line 4\)"),
    "a generator's end": ("raise GeneratorExit", r"failed: GeneratorExit \(line 4\)"),
    "no memory": ("raise MemoryError", r"failed: MemoryError \(line 4\)"),
    "an import": ("import no_such_module", r"failed: ModuleNotFoundError: .*no_such_module"),
    "another error of ours": ("raise ArtifactError('not me')", r"failed: .*ArtifactError: not me \(line 4\)"),
    "its own error of ours": ("raise HandlerError('me')", r"failed: .*HandlerError: me \(line 4\)"),
    "a way out": ("class Odd(InputError): http_status = 200\n    raise Odd('x')", r"failed: .*Odd: x \(line 5\)"),
    "no message": ("class Odd(InputError):\n        def __init__(self): pass\n    raise Odd()", r"failed: .*Odd"),
    "recursion": ("return (lambda f: f(f))(lambda f: f(f))", r"failed: RecursionError"),
}


@pytest.mark.parametrize("define", [before, behind])
@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_the_handlers_with_its_own_lines_as_the_cause(define: Any, case: str):
    body, message = FAULTS[case]
    with pytest.raises(HandlerError, match=message) as caught:
        define(body)(b"")
    assert caught.value.http_status == 500
    assert 'File "/somewhere/handler.py", line' in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("define", [before, behind])
def test_bad_input_is_what_the_handler_calls_so(define: Any):
    with pytest.raises(ImageError, match="not a scan"):
        define("raise ImageError('not a scan', hint='scan it')")(b"")
    with pytest.raises(InputError) as caught:
        define("class Old(ImageError): http_status = 410\n    raise Old('too old')")(b"")
    assert caught.value.http_status == 410


GARBAGE = {
    "nothing": ("return None", "returned NoneType, not a mapping"),
    "a list": ("return [1]", "returned list, not a mapping"),
    "no JSON": ("return {'x': object()}", "returned a object, which JSON can't represent"),
    "a set": ("return {'x': {1}}", "a set"),
    "no number": ("return {'x': float('nan')}", "Out of range"),
    "numpy's no number": ("return {'x': np.float32('inf')}", "some numbers are not finite"),
    "no numbers": ("return {'x': np.array([1, np.nan])}", "some numbers are not finite"),
    "objects": ("return {'x': np.array([object()])}", "object are not numbers"),
    "another key": ("return {(1, 2): 2}", "keys must be str"),
    "itself": ("x = {}\n    x['x'] = x\n    return x", "Circular"),
    "much": ("return {'x': 'y' * 2_000_000}", "more than 1048576 bytes"),
    "many": ("return {'x': np.zeros(1_000_000)}", "more than 1048576 bytes"),
    "a member that is there": ("return {'model': 'mine'}", "'model', a name that every reply already has"),
    "a header in a label": ("return {'label': 'a\\r\\nce-id: 1'}", "can't be an attribute of an event"),
    "a long label": ("return {'label': 'a' * 300}", "can't be an attribute of an event"),
    "no label": ("return {'label': ''}", "can't be an attribute of an event"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_what_is_no_reply_is_the_handlers_fault(case: str):
    body, message = GARBAGE[case]
    with pytest.raises(HandlerError, match=message):
        behind(body)(OUTPUTS)


BROKEN = {
    "an end": ("raise SystemExit('bye')", r"can't be loaded: SystemExit: bye \(line 1\)"),
    "an import": ("import no_such_module", "can't be loaded: ModuleNotFoundError"),
    "a null": ("\0", "can't be loaded: "),
    "no function": ("preprocess = 3", "preprocess is a int, not a function"),
    "a string": ("content_types = 'image/'\ndef preprocess(d): pass", "not a tuple of media types"),
    "no media type": ("content_types = ('image',)\ndef preprocess(d): pass", "not a tuple of media types"),
    "capitals": ("content_types = ('Image/PNG',)\ndef preprocess(d): pass", "in lower case"),
    "parameters": ("content_types = ('text/csv; x=1',)\ndef preprocess(d): pass", "not a tuple of media types"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_can_not_be_loaded_says_why(case: str):
    source, message = BROKEN[case]
    with pytest.raises(HandlerError, match=message) as caught:
        load(source)
    assert caught.value.hint


def test_a_postprocess_that_writes_into_its_outputs_changes_no_golden_output():
    follow = load("def postprocess(outputs):\n    outputs['logits'][:] = 0\n    return {}\n").follow
    assert follow(lambda batch: {"logits": batch})(np.ones((1, 3)))["logits"].tolist() == [[1, 1, 1]]
