"""What cannot be imported is refused in one line that says what was found, what was expected and what to do."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import foreign_networks as foreign
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from linewatch import cli
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.importer.engine_import import ImportRequest, import_engine

LOGITS = foreign.classifier()


def _percent(model: onnx.ModelProto) -> None:
    """Multiply the answer by 100."""
    model.graph.node[-1].output[0] = "share"
    model.graph.initializer.append(numpy_helper.from_array(np.array(100, np.float32), "hundred"))
    model.graph.node.append(helper.make_node("Mul", ["share", "hundred"], ["answer"]))


def _saved(**options: object) -> Callable[[Path], Path]:
    return lambda folder: foreign.save(foreign.classifier(**options), folder / "mine.onnx")


def _written(data: bytes, name: str = "mine.onnx") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def _changed(change: Callable[[onnx.ModelProto], object], **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model = foreign.classifier(**options)
        change(model)
        return foreign.save(model, folder / "mine.onnx")

    return write


def _checkpoint(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "mine.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return folder / "mine.pt"


def _without_weights(folder: Path) -> Path:
    path = foreign.save(LOGITS, folder / "mine.onnx", weights="mine.onnx.data")
    (folder / "mine.onnx.data").rename(folder / "other.onnx.data")
    return path


def _cut_weights(folder: Path) -> Path:
    path = foreign.save(LOGITS, folder / "mine.onnx", weights="mine.onnx.data")
    (folder / "mine.onnx.data").write_bytes((folder / "mine.onnx.data").read_bytes()[:-100])
    return path


def _the_weights_alone(folder: Path) -> Path:
    foreign.save(LOGITS, folder / "mine.onnx", weights="mine.onnx.data")
    (folder / "mine.onnx.data").write_bytes(b"\xff" * 1000)
    return folder / "mine.onnx.data"


def _weights_elsewhere(folder: Path) -> Path:
    def away(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")

    return _changed(away)(folder)


def _operator(name: str, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = next(one for one in model.graph.node if one.op_type == "Relu")
        node.op_type, node.domain = name, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def _second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("training", TensorProto.BOOL, [1]))


def _in_training(model: onnx.ModelProto) -> None:
    relu = next(one for one in model.graph.node if one.op_type == "Relu")
    for name, value in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 1.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.full(8, value, np.float32), name))
    norm = helper.make_node(
        "BatchNormalization", [relu.input[0], "scale", "bias", "mean", "var"], ["n", "m", "v"], training_mode=1
    )
    relu.input[0] = "n"
    model.graph.node.insert([*model.graph.node].index(relu), norm)


def _noise(model: onnx.ModelProto) -> None:
    relu = next(one for one in model.graph.node if one.op_type == "Relu")
    at = [*model.graph.node].index(relu)
    model.graph.node.insert(at, helper.make_node("Add", [relu.input[0], "noise"], ["noisy"]))
    model.graph.node.insert(at, helper.make_node("RandomNormalLike", [relu.input[0]], ["noise"]))
    relu.input[0] = "noisy"


def _not_a_number(model: onnx.ModelProto) -> None:
    weight = next(one for one in model.graph.initializer if one.dims == [16, 3])
    weight.CopyFrom(numpy_helper.from_array(np.full((16, 3), np.nan, np.float32), weight.name))


def _ultralytics_detector(folder: Path) -> Path:
    model = foreign.detector()
    for key, value in (("author", "Ultralytics"), ("task", "detect")):
        model.metadata_props.add(key=key, value=value)
    return foreign.save(model, folder / "mine.onnx")


def _other_order(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="names", value="{0: 'b', 1: 'a', 2: 'c'}")


def _argmax(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["answer"], ["number"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("number", TensorProto.INT64, ["n", 1]))


CLASSIFY = ["--task", "classify", "--classes", "a,b,c"]
SEGMENT = ["--task", "segment", "--classes", "a,b"]
SIGMOID, SOFTMAX = ["--activation", "sigmoid"], ["--activation", "softmax"]
CASES: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "no file": (
        lambda d: d / "mine.onnx",
        CLASSIFY,
        "cannot be read (No such file or directory), expected an ONNX file",
    ),
    "a folder": (lambda d: foreign.save(LOGITS, d / "mine.onnx").parent, CLASSIFY, "is a folder, .* has mine.onnx"),
    "empty": (_written(b""), CLASSIFY, "holds no network (found 0 bytes"),
    "text": (_written(b"hello, this is no network at all"), CLASSIFY, "is no ONNX file, or is cut off"),
    "cut off": (_written(LOGITS.SerializeToString()[:-200]), CLASSIFY, "is no ONNX file, or is cut off"),
    "checkpoint of torch": (
        _checkpoint,
        CLASSIFY,
        "found a zip archive (a PyTorch checkpoint or a Keras model); export",
    ),
    "weights of Keras": (
        _written(b"\x89HDF\r\n\x1a\n", "mine.h5"),
        CLASSIFY,
        "HDF5 file (Keras weights); export it as",
    ),
    "pointer": (_written(b"version https://git-lfs.github.com/spec/v1\n"), CLASSIFY, "run `git lfs pull`"),
    "weights missing": (_without_weights, CLASSIFY, "in mine.onnx.data, which is missing .*other.onnx.data is there"),
    "weights cut off": (_cut_weights, CLASSIFY, "mine.onnx expects at least .* copy both files again"),
    "weights alone": (_the_weights_alone, CLASSIFY, "holds the weights of mine.onnx; import /"),
    "weights elsewhere": (_weights_elsewhere, CLASSIFY, "in '../secret', expected a file in the folder"),
    "opset too new": (_saved(opset=28), CLASSIFY, "of opset 28, ONNX Runtime .* takes up to .*opset_version=20"),
    "opset too old": (_saved(opset=7), CLASSIFY, "of opset 7, expected 8 or newer; .*opset_version=17"),
    "IR too new": (_saved(ir_version=99), CLASSIFY, "its IR version is 99, .* takes up to"),
    "unknown operator": (_changed(_operator("Frobnicate")), CLASSIFY, "uses the operator Frobnicate, which ONNX Run"),
    "custom operator": (_changed(_operator("Bar", "my.ops")), CLASSIFY, "uses the operator my.ops:Bar, which ONNX Run"),
    "two inputs": (
        _changed(_second_input),
        CLASSIFY,
        "takes 2 inputs (picture float (n, 3, 32, 32); training bool (1)",
    ),
    "four channels": (_saved(channels=4), CLASSIFY, "(n, 4, 32, 32), expected 1 or 3 channels"),
    "wrong layout": (_saved(), [*CLASSIFY, "--layout", "nhwc"], "is not nhwc with 1 or 3 channels; give --layout nchw"),
    "either layout": (_saved(side=3), CLASSIFY, "could be either; give --layout nchw or nhwc"),
    "in training mode": (_changed(_in_training), CLASSIFY, "was exported in training mode .*call model.eval()"),
    "draws at random": (_changed(_noise), [*CLASSIFY, *SIGMOID], "gives other values for the same tile again"),
    "not a number": (_changed(_not_a_number), [*CLASSIFY, *SIGMOID], "not finite numbers on reference tiles"),
    "logits": (_saved(), CLASSIFY, "expected probabilities from 0 to 1; looks like logits: give --activation sigmoid"),
    "logits as they are": (_saved(), [*CLASSIFY, "--activation", "none"], "looks like logits: give --activation"),
    "second activation": (_saved(end="Sigmoid"), [*CLASSIFY, *SIGMOID], "(it ends in Sigmoid), .* leave --activation"),
    "fewer classes": (
        _saved(),
        ["--task", "classify", "--classes", "a,b"],
        "3 classes, expected 2 (a, b); .*--backgro",
    ),
    "more classes": (_saved(), ["--task", "classify", "--classes", "a,b,c,d"], "3 classes, expected 4 (a, b, c, d)"),
    "no classes": (_saved(), ["--task", "classify"], "--classes: expected the names of the network's classes"),
    "class twice": (_saved(), ["--task", "classify", "--classes", "a,b,A"], "A and a stands there twice"),
    "several outputs": (
        _saved(spare_outputs=1),
        CLASSIFY,
        "has 2 outputs: answer float (n, 3); spare0 float (n, 3); name the one to use by --output NAME",
    ),
    "no such output": (_saved(), [*CLASSIFY, "--output", "x"], "has no output 'x', it has answer float (n, 3)"),
    "numbers of classes": (_changed(_argmax), CLASSIFY, "number int64 (n, 1), expected float .*without argmax"),
    "detector of Ultralytics": (
        _ultralytics_detector,
        CLASSIFY,
        "is an object detector .*linewatch takes a classifier",
    ),
    "detector": (
        lambda d: foreign.save(foreign.detector(), d / "mine.onnx"),
        CLASSIFY,
        "(n, 7, 1024), expected a score for each of 3 classes: (n, 3); it looks like the boxes of an object det",
    ),
    "detector as a segmenter": (
        lambda d: foreign.save(foreign.detector(), d / "mine.onnx"),
        [*SEGMENT, *SIGMOID],
        "in the proportions of its picture of 256 x 256; it looks like the boxes of",
    ),
    "detector with boxes chosen": (
        lambda d: foreign.save(foreign.detector(nms=True), d / "mine.onnx"),
        CLASSIFY,
        "is an object detector (it has the operator NonMaxSuppression)",
    ),
    "classifier as a segmenter": (_saved(), [*SEGMENT, *SIGMOID], "expected a map: .*--task classify"),
    "segmenter as a classifier": (
        lambda d: foreign.save(foreign.segmenter(3), d / "mine.onnx"),
        [*CLASSIFY, *SIGMOID],
        "imported with --task segment",
    ),
    "background unknown": (
        lambda d: foreign.save(foreign.segmenter(2), d / "mine.onnx"),
        [*SEGMENT, *SOFTMAX],
        "the 2 channels of a pixel sum to 1, .*--background N",
    ),
    "background not counted": (
        lambda d: foreign.save(foreign.segmenter(3), d / "mine.onnx"),
        [*SEGMENT, *SOFTMAX],
        "has 3 classes, expected 2 (a, b); if one of them stands for clean steel, say which by --background N",
    ),
    "softmax of one": (
        lambda d: foreign.save(foreign.segmenter(1), d / "mine.onnx"),
        [*SEGMENT, *SOFTMAX],
        "over one channel it is always 1; give --activation sigmoid",
    ),
    "cells that do not fit": (
        lambda d: foreign.save(foreign.segmenter(1, extents=(250, 1600), shrink=10), d / "mine.onnx"),
        ["--task", "screen", *SIGMOID],
        "(n, 1, 25, 160), expected a score for each square cell of a frame of 256 x 1600",
    ),
    "cells of another size": (
        lambda d: foreign.save(foreign.segmenter(1, extents=(256, 1600), shrink=16), d / "mine.onnx"),
        ["--task", "screen", *SIGMOID, "--cell-px", "24"],
        "cells are of 16 px, expected a multiple of that",
    ),
    "bound to eight": (_saved(rows=8, bound="values"), [*CLASSIFY, *SIGMOID], "cannot be run on tiles of 256 x 256"),
    "two names for clean": (
        _saved(),
        ["--task", "classify", "--classes", "a,ok,background"],
        "ok and background stand",
    ),
    "percentages": (
        _changed(_percent, end="Softmax"),
        [*CLASSIFY, *SOFTMAX],
        "gives percentages (.*100 in all), expected logits",
    ),
    "logarithms": (_saved(end="LogSoftmax"), [*CLASSIFY, *SIGMOID], "logarithms of probabilities .*--activation softm"),
    "detector with a background": (
        lambda d: foreign.save(foreign.detector(), d / "mine.onnx"),
        ["--task", "segment", "--classes", "background,a,b", *SOFTMAX],
        "it looks like the boxes of an object detector",
    ),
    "mean of two": (_saved(), [*CLASSIFY, "--mean", "0.1,0.2"], "found 2 values, expected one, or one for each of"),
    "mean is no number": (_saved(), [*CLASSIFY, "--mean", "0.1;0.2"], "expected numbers, for example"),
    "std is zero": (_saved(), [*CLASSIFY, "--std", "0"], "expected numbers above 0"),
    "mean of bytes": (_saved(dtype="uint8"), [*CLASSIFY, "--mean", "0.5"], "so its normalisation is inside it; leave"),
    "no lines": (_saved(), [*CLASSIFY, "--lines", "0"], "--lines 0: expected 1 to 16384 pixels"),
    "screen of three channels": (
        lambda d: foreign.save(foreign.segmenter(3, extents=(256, 1600), shrink=16), d / "mine.onnx"),
        ["--task", "screen", *SIGMOID],
        "has 3 channels, expected 1, or one for each class; name the classes by --classes",
    ),
    "classes in another order": (_changed(_other_order), CLASSIFY, "have another order, give --classes b,a,c"),
    "bad name": (_saved(), [*CLASSIFY, "--name", "Mine!"], "expected lower-case letters, digits, - and _"),
}
ARGUMENTS_AT_FAULT = {
    "no classes",
    "class twice",
    "two names for clean",
    "classes in another order",
    "softmax of one",
    "cells of another size",
    "no lines",
    "bad name",
    *(case for case in CASES if case.startswith(("mean", "std"))),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_imported_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, options, said = CASES[case]
    path = make(tmp_path)
    code = cli.main(["engine", "import", str(path), *options, "--engines", str(tmp_path / "engines")])
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    parts = said.split(".*")
    found = [line.find(part) for part in parts]
    assert -1 not in found, line
    assert found == sorted(found), line
    assert code == (2 if case in ARGUMENTS_AT_FAULT else 4), line
    assert not [*(tmp_path / "engines").glob("*")], "nothing is left behind"


def test_a_network_cannot_become_an_inspect_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign.save(LOGITS, tmp_path / "mine.onnx")
    assert cli.main(["engine", "import", str(path), "--task", "inspect"]) == 2
    assert "classify" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"expected task classify, segment or screen.*linewatch train inspect"):
        import_engine(path, ImportRequest(Task.INSPECT), tmp_path / "engines")
    assert not (tmp_path / "engines").exists()


def test_an_engine_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign.save(LOGITS, tmp_path / "mine.onnx")
    words = ["engine", "import", str(path), *CLASSIFY, *SIGMOID, "--engines-dir", str(tmp_path / "engines")]
    assert cli.main(words) == 0
    assert cli.main(words) == 4
    assert "is there already, expected a free name; give another --name" in capsys.readouterr().err


def test_without_onnx_the_remedy_is_said() -> None:
    code = (
        "import sys; sys.modules['onnx'] = None; from linewatch.cli import main; "
        "sys.exit(main(['engine', 'import', 'x.onnx', '--task', 'screen']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "linewatch: needs onnx, which is not installed; pip install 'linewatch[import]'\n"


def test_import_needs_no_torch(tmp_path: Path) -> None:
    path = foreign.save(LOGITS, tmp_path / "mine.onnx")
    words = ["engine", "import", str(path), *CLASSIFY, *SIGMOID, "--engines", str(tmp_path / "engines")]
    code = f"import sys; sys.modules['torch'] = None; from linewatch.cli import main; sys.exit(main({words}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
