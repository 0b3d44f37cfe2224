"""`convert.handler`: a handler.py goes into the artifact, makes the goldens, and is run in child processes only."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.convert import convert
from converters.settings import ConvertSettings
from eaves.artifact import Artifact, load_golden, open_artifact
from eaves.errors import ConversionError, EavesError, GoldenError, HandlerError
from eaves.inference.handler import load_handler
from eaves.inference.replay import replay_in_child
from eaves.inference.session import open_session
from functions.pipeline import open_predictor
from functions.settings import ServeSettings

SOURCE = """
import numpy as np

from eaves.errors import InputError

content_types = ("text/csv",)
print("a handler may print")


def preprocess(data):
    try:
        rows = [[int(cell) for cell in line.split(",")] for line in data.decode("ascii").split()]
        grey = np.array(rows, np.uint8).reshape(16, 16, 1)
    except ValueError as error:
        raise InputError(f"no 16 x 16 grey values: {error}") from error
    return grey.repeat(3, axis=2)


def postprocess(outputs):
    best = int(outputs["probabilities"].argmax())
    return {"label": f"digit {best}", "score": outputs["probabilities"][best]}
"""


@pytest.fixture(scope="module")
def scans(tiny_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny graph, its samples as text that no image decoder reads."""
    from PIL import Image

    folder = Path(shutil.copytree(tiny_graph.parent, tmp_path_factory.mktemp("scans") / "model"))
    for path in sorted((folder / "samples").glob("*/*.png")):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L").resize((16, 16)))
        path.with_suffix(".csv").write_text("\n".join(",".join(map(str, row)) for row in grey.tolist()))
        path.unlink()
    return folder / tiny_graph.name


def settings(folder: Path, source: str = SOURCE, *, precision: str = "auto") -> ConvertSettings:
    path = folder / "my_handler.py"
    path.write_text(source)
    return ConvertSettings(handler=str(path), precision=precision)


@pytest.fixture(scope="module")
def artifact(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("handled")
    return convert(scans, folder / "a", settings(folder))


def test_goldens_are_what_the_handler_makes(artifact: Artifact):
    cases = load_golden(open_artifact(artifact.path, level="full"))
    assert [case.tensor for case in cases] == [f"golden/00{number}.npy" for number in range(4)]
    assert (artifact.path / "handler.py").read_text() == SOURCE
    assert not [name for name in sys.modules if name.startswith("eaves_handler_") and SOURCE in vars(sys.modules[name])]
    assert artifact.manifest.precision == "fp32"
    assert "inputs are made by a handler" in artifact.manifest.quantisation.reason
    for run_handler in (True, False):
        assert all(result.ok for result in replay_in_child(artifact, run_handler=run_handler))


def test_it_is_served(artifact: Artifact):
    predictor = open_predictor(artifact, open_session(artifact), ServeSettings(), load_handler(artifact))
    assert predictor.accepts("text/csv")
    for case in load_golden(artifact):
        prediction = predictor.predict((artifact.path / case.file).read_bytes())
        assert prediction.payload["label"] == prediction.attributes["label"]
        assert prediction.payload["score"] == pytest.approx(max(case.outputs["probabilities"]), abs=1e-3)


BROKEN = {
    "an import": ("import no_such_module\n", "can't be loaded: ModuleNotFoundError"),
    "a shape": (SOURCE.replace(".repeat(3, axis=2)", ""), r"returned uint8 \(16, 16, 1\)"),
    "chance": (SOURCE.replace("grey.repeat", "(grey // np.random.randint(1, 200)).repeat"), "another input tensor"),
    "the end": ("import os\nos._exit(0)\n", "failed with exit code 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_ends_the_conversion_and_leaves_nothing(scans: Path, tmp_path: Path, case: str):
    source, message = BROKEN[case]
    with pytest.raises((ConversionError, HandlerError, GoldenError), match=message):
        convert(scans, tmp_path / "a", settings(tmp_path, source))
    assert [path.name for path in tmp_path.iterdir()] == ["my_handler.py"]


def test_what_can_not_be_had_is_said_at_once(scans: Path, tmp_path: Path):
    with pytest.raises(EavesError, match=r"the handler nowhere.py can't be read"):
        convert(scans, tmp_path / "a", ConvertSettings(handler="nowhere.py"))
    with pytest.raises(EavesError, match=r"is too large: .*1048576"):
        convert(scans, tmp_path / "a", settings(tmp_path, "#" * 2_000_000))
    with pytest.raises(EavesError, match=r"int8 can.t be tried: .*inputs are made by a handler"):
        convert(scans, tmp_path / "a", settings(tmp_path, precision="int8"))
