"""--style-input: the style's part becomes a network of its own; both are proven from the style to the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline import targets
from pipeline.build import live_styles
from pipeline.compress.packed import is_packed, unpack
from pipeline.sources import style_split
from tests.architectures.test_styled import conditional
from tests.cli.test_ports import W1, W2, by_number, by_picture, by_vector, given, model
from tests.networks import style_checkpoint

RANGES = ("--input-range", "0..1", "--output-range", "0..1", "--size", "64x48")
INFERENCE = ("--target", "inference-2")
RNG = np.random.default_rng(11)


@pytest.fixture
def wave(tmp_path: Path) -> Path:
    Image.fromarray(RNG.integers(0, 255, (16, 24, 3), np.uint8)).save(tmp_path / "wave.png")
    return tmp_path / "wave.png"


def asset_of(folder: Path, name: str = "Net") -> str:
    return (folder / f"{name}.asset").read_text()


def by_style(folder: Path, target: str, style: np.ndarray, picture: np.ndarray, name: str = "Net") -> np.ndarray:
    """What the two networks of a bundle make of a style and a picture, as the target computes them."""
    chosen = targets.get(target)
    predict = chosen.family.runner((folder / f"{name}Predictor.onnx").read_bytes(), chosen)
    run = chosen.family.style_runner((folder / f"{name}.onnx").read_bytes(), chosen)
    return run(picture, predict(style).ravel())


@pytest.mark.parametrize("target", ["barracuda-3.0", "barracuda-1.0", "inference-2", "sentis-2.1"])
def test_any_picture_is_a_style_of_the_bundle(pipeline, tmp_path: Path, wave: Path, target: str) -> None:
    source = by_picture(tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", "--preview", "look.png")
    done = pipeline("build-unity", source, *words, *RANGES, "--target", target, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["live_style"]["kind"] == "picture" and report["live_style"]["values"] == 4
    assert [stored["name"] for stored in report["styles"]] == ["wave"]
    assert report["styles"][0]["proof"]["would_have_passed_at"] < 0.1
    folder = Path("out/StyleTransfer/Models/Net")
    picture = RNG.random((1, 3, 48, 64)).astype(np.float32)
    other = RNG.random((1, 3, 16, 24)).astype(np.float32)
    np.testing.assert_allclose(by_style(folder, target, other, picture), given(source, other, picture), atol=2e-4)
    operators = {node.op_type for node in onnx.load(folder / "Net.onnx").graph.node}
    assert "GlobalAveragePool" not in operators, "what depends on the style only is the predictor's"
    asset, predictor = asset_of(folder), asset_of(folder, "NetPredictor")
    assert "styleInput: style_vector" in asset and "isPredictor: 0" in asset
    assert "isPredictor: 1" in predictor and "nominalWidth: 24" in predictor and "outputChannels: 4" in predictor
    stored = np.frombuffer((folder / "NetStyles.bytes").read_bytes(), "<f4")
    shown = np.asarray(Image.open(folder / "style_0.png"), np.float32).transpose(2, 0, 1)[None] / 255
    chosen = targets.get(target)
    predict = chosen.family.runner((folder / "NetPredictor.onnx").read_bytes(), chosen)
    np.testing.assert_allclose(stored, predict(shown).ravel(), atol=1e-5)
    assert (folder / "style_0.png.meta").is_file() and (folder / "NetPredictor.onnx.meta").is_file()
    assert Path("look.png").is_file()


@pytest.mark.parametrize("target", ["compute", "compute-half"])
def test_compiled_networks_upload_weights_for_a_style(pipeline, tmp_path: Path, wave: Path, target: str) -> None:
    source = by_picture(tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", *RANGES, "--target", target)
    done = pipeline("build-unity", source, *words, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["model"]["style_input"] == style_split.VECTOR
    folder, kernels = Path("out/StyleTransfer/Models/Net"), Path("out/StyleTransfer/Kernels")
    chosen = targets.get(target)
    plans = [(folder / f"{name}.bytes").read_bytes() for name in ("Net", "NetPredictor")]
    assert {path.name for path in kernels.glob("*.compute")} == {
        name for plan in plans for name in chosen.family.shared_files(plan, chosen)
    }
    assert (
        "isPredictor: 1" in asset_of(folder, "NetPredictor") and (folder / "NetPredictorNetwork.asset").is_file()
    )
    predict = chosen.family.runner(plans[1], chosen)
    run = chosen.family.style_runner(plans[0], chosen)
    picture = RNG.random((1, 3, 48, 64)).astype(np.float32)
    for _ in range(2):
        style = RNG.random((1, 3, 16, 24)).astype(np.float32)
        np.testing.assert_allclose(
            run(picture, predict(style).ravel()),
            given(source, style, picture),
            atol=2e-4 if target == "compute" else 4e-3,
        )


def test_a_predictor_that_cannot_be_compiled_leaves_the_bound_styles(pipeline, tmp_path: Path, wave: Path) -> None:
    """No kernel computes the largest value of a channel."""
    nodes = [
        helper.make_node("Conv", ["style", "ws"], ["seen"]),
        helper.make_node("ReduceMax", ["seen"], ["gain"], axes=[2, 3], keepdims=1),
    ]
    source = model([1, 3, 16, 24], TensorProto.FLOAT, nodes, tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", *RANGES, "--target", "compute")
    done = pipeline("build-unity", source, *words, "-o", "out", "--json")
    assert done.code == 0 and "bound styles only" in done.err, done.err
    report = json.loads(done.out)
    assert report["live_style"]["predictor"] is None and report["styles"][0]["proof"]["passed"]
    folder = Path("out/StyleTransfer/Models/Net")
    assert not list(folder.glob("*Predictor*")) and "predictor: {fileID: 0}" in asset_of(folder)
    chosen = targets.get("compute")
    run = chosen.family.style_runner((folder / "Net.bytes").read_bytes(), chosen)
    picture = RNG.random((1, 3, 48, 64)).astype(np.float32)
    pixels = np.asarray(Image.open(wave), np.float32).transpose(2, 0, 1)[None] / 255
    vector = np.frombuffer((folder / "NetStyles.bytes").read_bytes(), "<f4")
    np.testing.assert_allclose(run(picture, vector), given(source, pixels, picture), atol=2e-4)


def test_a_style_of_the_network_s_own_range_and_order(pipeline, tmp_path: Path, wave: Path) -> None:
    source = by_picture(tmp_path / "net.onnx")
    words = ("--input-range", "0..255", "--output-range", "0..1", "--channel-order", "bgr", "--size", "64x48")
    done = pipeline(
        "build-unity", source, "--style-input", "style", "--bind", f"style={wave}", *words, "-o", "out", "--json"
    )
    assert done.code == 0, done.err
    folder = Path("out/StyleTransfer/Models/Net")
    style = RNG.random((1, 3, 16, 24)).astype(np.float32)
    picture = RNG.random((1, 3, 48, 64)).astype(np.float32)
    expected = given(source, style[:, ::-1] * np.float32(255), picture[:, ::-1] * np.float32(255))[:, ::-1]
    target = json.loads(done.out)["target"]["name"]
    np.testing.assert_allclose(by_style(folder, target, style, picture), expected, atol=2e-3)


def test_vectors_and_numbers_are_styles_too_and_the_cache_keeps_them(pipeline, tmp_path: Path) -> None:
    vectors = by_vector(tmp_path / "vector.onnx")
    words = ("--style-input", "style", "--bind", "style=1,0,0,0", "--bind", "style=0,1,2,-1", *RANGES)
    done = pipeline("build-unity", vectors, *words, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["live_style"]["kind"] == "vector" and report["style_blend"]["passed"]
    folder = Path("out/StyleTransfer/Models/Vector")
    style = RNG.normal(0, 1, (1, 4)).astype(np.float32)
    picture = RNG.random((1, 3, 48, 64)).astype(np.float32)
    result = by_style(folder, report["target"]["name"], style.reshape(1, 4, 1, 1), picture, "Vector")
    np.testing.assert_allclose(result, given(vectors, style, picture), atol=2e-4)
    files = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    again = json.loads(pipeline("build-unity", vectors, *words, "-o", "out2", "--json").out)
    assert again["cached"]
    assert {
        Path("out", *path.parts[1:]): path.read_bytes() for path in Path("out2").rglob("*") if path.is_file()
    } == files

    numbers = by_number(tmp_path / "net.onnx")
    done = pipeline("build-unity", numbers, "--style-input", "style", *RANGES, "-o", "out3", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [stored["name"] for stored in report["styles"]] == [f"style {number}" for number in range(5)]
    folder = Path("out3/StyleTransfer/Models/Net")
    assert not list(folder.glob("*Predictor*")) and "predictor: {fileID: 0}" in asset_of(folder)
    stored = np.frombuffer((folder / "NetStyles.bytes").read_bytes(), "<f4").reshape(5, -1)
    chosen = targets.get(report["target"]["name"])
    run = chosen.family.style_runner((folder / "Net.onnx").read_bytes(), chosen)
    np.testing.assert_allclose(run(picture, stored[3]), given(numbers, np.array([3]), picture), atol=2e-4)


@pytest.mark.parametrize(
    ("make", "words", "code", "told"),
    [
        (by_picture, ("--style-input", "stile"), 2, "[no-style-input]"),
        (
            by_picture,
            ("--style-input", "style", "--weights", "int5", "--target", "inference-2"),
            2,
            "[bad-weights]",
        ),
        (by_picture, ("--style-input", "picture"), 2, "error ["),
        (by_vector, ("--style-input", "style"), 2, "[style-example-missing]"),
        (by_number, ("--style-input", "style", *("--bind", "style=1") * 40), 2, "[bad-binding]"),
    ],
)
def test_what_cannot_be_given_in_the_game_is_told(pipeline, tmp_path: Path, make, words, code, told) -> None:
    done = pipeline("build-unity", make(tmp_path / "net.onnx"), *words, *RANGES, "-o", "out")
    assert done.code == code and told in done.err and "Traceback" not in done.err, done.err
    assert not Path("out").exists()


@pytest.mark.parametrize("length", [5, 100])
def test_a_vector_of_any_length_goes_through_a_predictor(pipeline, tmp_path: Path, length: int) -> None:
    weights = RNG.normal(0, 0.5, (length, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["mlp"], value=numpy_helper.from_array(weights)),
        helper.make_node("MatMul", ["style", "mlp"], ["seen"]),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 4, 1, 1]))),
        helper.make_node("Reshape", ["seen", "shape"], ["gain"]),
    ]
    source = model([1, length], TensorProto.FLOAT, nodes, tmp_path / "net.onnx")
    example = ",".join(["0.5"] * length)
    words = ("--style-input", "style", "--bind", f"style={example}", *RANGES, *INFERENCE)
    done = pipeline("build-unity", source, *words, "-o", "out")
    assert done.code == 0, done.err
    style, picture = (RNG.random(shape).astype(np.float32) for shape in ((1, length), (1, 3, 48, 64)))
    folder = Path("out/StyleTransfer/Models/Net")
    made = by_style(folder, "inference-2", style.reshape(1, length, 1, 1), picture)
    np.testing.assert_allclose(made, given(source, style, picture), atol=2e-4)


@pytest.mark.parametrize(("target", "suffix"), [("inference-2", ".sentis"), ("barracuda-3.0", ".bytes")])
def test_packed_networks_compute_the_vectors_and_golden_pictures_of_the_bundle(
    pipeline, tmp_path: Path, wave: Path, target: str, suffix: str
) -> None:
    source = by_picture(tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", *RANGES, "--target", target, "--weights", "int8")
    done = pipeline("build-unity", source, *words, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["live_style"]["predictor"]["packed"]["weights"] == "int8"
    assert 30 < report["packed"]["styles"][0] < 90
    folder = Path("out/StyleTransfer/Models/Net")
    files = {name: (folder / f"{name}{suffix}").read_bytes() for name in ("Net", "NetPredictor")}
    assert not list(folder.glob("*.onnx"))
    loaded = {name: unpack(data).model if is_packed(data) else data for name, data in files.items()}
    chosen = targets.get(target)
    shown, picture, golden = (
        np.asarray(Image.open(folder / f"{name}.png"), np.float32).transpose(2, 0, 1)[None] / 255
        for name in ("style_0", "golden_input", "golden_output_0")
    )
    vector = chosen.family.runner(loaded["NetPredictor"], chosen)(shown).ravel()
    np.testing.assert_allclose(np.frombuffer((folder / "NetStyles.bytes").read_bytes(), "<f4"), vector, atol=1e-6)
    exact = given(source, shown, picture)
    made = chosen.family.style_runner(loaded["Net"], chosen)(picture, vector)
    assert np.abs(made - golden).max() <= 0.51 / 255 and 1e-5 < np.abs(made - exact).max() < 0.05
    asset = (folder / "NetPredictor.asset").read_text()
    assert ("packed: {fileID: 0}" in asset) == (suffix == ".sentis")
    again = json.loads(pipeline("build-unity", source, *words, "-o", "out2", "--json").out)
    assert again["cached"]
    assert all(
        (Path("out2") / path.relative_to("out")).read_bytes() == path.read_bytes() for path in folder.iterdir()
    )


def test_convert_writes_both_networks_and_the_vectors(pipeline, tmp_path: Path, wave: Path) -> None:
    source = by_picture(tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", *RANGES, "--target", "inference-2")
    done = pipeline("convert", source, *words, "-o", "made.onnx", "--json")
    assert done.code == 0, done.err
    files = {path.name: path.read_bytes() for path in Path().glob("made.*")}
    assert sorted(files) == ["made.onnx", "made.predictor.onnx", "made.styles.bytes"]
    chosen = targets.get("inference-2")
    style, picture = (RNG.random((1, 3, *size)).astype(np.float32) for size in ((16, 24), (48, 64)))
    vector = chosen.family.runner(files["made.predictor.onnx"], chosen)(style).ravel()
    result = chosen.family.style_runner(files["made.onnx"], chosen)(picture, vector)
    np.testing.assert_allclose(result, given(source, style, picture), atol=2e-4)
    pixels = np.asarray(Image.open(wave), np.float32).transpose(2, 0, 1)[None] / 255
    example = chosen.family.runner(files["made.predictor.onnx"], chosen)(pixels).ravel()
    np.testing.assert_allclose(np.frombuffer(files["made.styles.bytes"], "<f4"), example, atol=1e-6)
    again = pipeline("convert", source, *words, "-o", "made.onnx", "--json")
    assert again.code == 0 and json.loads(again.out)["cached"]
    Path("other.predictor.onnx").write_bytes(b"mine")
    refused = pipeline("convert", source, *words, "-o", "other.onnx")
    assert refused.code == 2 and "[file-exists]" in refused.err and not Path("other.onnx").exists()
    unknown = pipeline("convert", source, "--style-input", "style", "-o", "x.onnx")
    assert unknown.code == 2 and "[contract-missing]" in unknown.err


def test_the_game_chooses_the_style_of_a_checkpoint(pipeline, tmp_path: Path) -> None:
    torch.save(conditional("embed"), tmp_path / "net.pth")
    words = ("--style-input", "style", "--size", "40x32", *INFERENCE)
    done = pipeline("build-unity", tmp_path / "net.pth", *words, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [style["name"] for style in report["styles"]] == ["style 0", "style 1", "style 2"]
    assert report["live_style"]["values"] == 2 * (4 + 6 + 8 + 6 + 4)
    plain = pipeline("build-unity", style_checkpoint(tmp_path / "plain.pth"), "--bind", "style=1", "-o", "x")
    assert plain.code == 2 and "[conflicting-options]" in plain.err


@pytest.mark.parametrize(
    ("form", "words"), [("QDQ", ("--bind",)), ("QOperator", ("--style-input",)), ("half", ("--style-input",))]
)
def test_a_quantised_network_is_split_in_float32(pipeline, tmp_path: Path, wave: Path, form: str, words) -> None:
    from onnxruntime import quantization

    source = by_picture(tmp_path / "net.onnx")
    if form == "half":
        network = onnx.load(source)
        for tensor in network.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
        for value in (*network.graph.input, *network.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        onnx.save(network, source)
    else:
        shapes = {"picture": (1, 3, 48, 64), "style": (1, 3, 16, 24)}
        rng = np.random.default_rng(11)
        seen = [{name: rng.random(shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2)]

        class Reader(quantization.CalibrationDataReader):
            def get_next(self):
                return seen.pop() if seen else None

        kind = quantization.QuantFormat[form]
        quantization.quantize_static(str(source), str(source), Reader(), quant_format=kind)
    last = "style" if words[0] == "--style-input" else f"style={wave}"
    done = pipeline("build-unity", source, "--bind", f"style={wave}", *words, last, *RANGES, "-o", "out", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    exact = 0.5 if words[0] == "--bind" else 0.01  # with two bound styles, each is what the integers gave
    assert all(style["proof"]["would_have_passed_at"] < exact for style in report["styles"])
    assert not {"QuantizeLinear", "QLinearConv"} & set(report["model"]["operators"])


def test_a_predictor_that_computes_something_else_fails_the_proof(
    pipeline, tmp_path: Path, wave: Path, monkeypatch
) -> None:
    whole = live_styles._lowered

    def spoiled(network, style, shown, target):
        for tensor in style.predictor.graph.initializer:
            if tensor.name == "ws":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), "ws"))
        return whole(network, style, shown, target)

    monkeypatch.setattr(live_styles, "_lowered", spoiled)
    source = by_picture(tmp_path / "net.onnx")
    words = ("--style-input", "style", "--bind", f"style={wave}", *RANGES, "--no-cache")
    done = pipeline("build-unity", source, *words, "-o", "out")
    assert done.code == 1 and "[proof-failed]" in done.err and not Path("out").exists()


# --- the cut ----------------------------------------------------------------------------------------------------


def two(
    nodes: list[onnx.NodeProto], style: list[int], opset: int = 13, **constants: np.ndarray
) -> onnx.ModelProto:
    weights = {"w1": W1, "w2": W2, **constants}
    graph = helper.make_graph(
        nodes,
        "two",
        [
            helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, style),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def both_ways(model: onnx.ModelProto, style: np.ndarray) -> style_split.Split:
    """The cut, where its parts one after the other make what the whole makes."""
    import onnxruntime as ort

    result = style_split.split(model, "style", [style, style * 2 + 1], Path("net.onnx"))
    picture = RNG.random((1, 3, 8, 8)).astype(np.float32)
    for given_style in (style, (style * 0.5 + 0.25).astype(np.float32)):
        opened = {
            name: ort.InferenceSession(part.SerializeToString())
            for name, part in (("whole", model), ("first", result.predictor), ("second", result.transfer))
        }
        (vector,) = opened["first"].run(None, {"style": given_style})
        assert vector.shape == (1, result.length, 1, 1)
        (got,) = opened["second"].run(None, {"picture": picture, style_split.VECTOR: vector})
        (expected,) = opened["whole"].run(None, {"picture": picture, "style": given_style})
        np.testing.assert_allclose(got, expected, atol=1e-5)
    return result


@pytest.mark.parametrize("opset", [9, 13])
def test_norms_that_take_scale_and_shift_of_the_style_are_written_apart(opset: int) -> None:
    nodes = [
        helper.make_node("MatMul", ["style", "ws"], ["both"]),
        helper.make_node("Reshape", ["both", "flat"], ["row"]),
        helper.make_node("Split", ["row"] if opset < 13 else ["row", "halves"], ["scale", "shift"], axis=0)
        if opset == 13
        else helper.make_node("Split", ["row"], ["scale", "shift"], axis=0, split=[4, 4]),
        helper.make_node("Conv", ["picture", "w1"], ["features"]),
        helper.make_node("InstanceNormalization", ["features", "scale", "shift"], ["normed"]),
        helper.make_node("Conv", ["normed", "w2"], ["out"]),
    ]
    model = two(
        nodes,
        [1, 3],
        opset,
        ws=RNG.normal(0, 1, (3, 8)).astype(np.float32),
        flat=np.array([8]),
        **({"halves": np.array([4, 4])} if opset == 13 else {}),
    )
    output = both_ways(model, RNG.normal(0, 1, (1, 3)).astype(np.float32))
    assert output.length == 8 and {node.op_type for node in output.predictor.graph.node} >= {"MatMul", "Split"}
    assert "MatMul" not in {node.op_type for node in output.transfer.graph.node}


def test_a_style_that_is_read_as_it_is_and_what_both_parts_read() -> None:
    nodes = [
        helper.make_node("Add", ["w_shared", "w_shared"], ["twice"]),
        helper.make_node("Mul", ["style", "twice"], ["scaled"]),
        helper.make_node("Mul", ["picture", "scaled"], ["a"]),
        helper.make_node("Mul", ["a", "twice"], ["b"]),
        helper.make_node("Add", ["b", "style"], ["out"]),
    ]
    result = both_ways(
        two(nodes, [1, 3, 1, 1], w_shared=RNG.random((1, 3, 1, 1)).astype(np.float32)),
        RNG.random((1, 3, 1, 1)).astype(np.float32),
    )
    assert result.length == 6


@pytest.mark.parametrize(
    ("nodes", "style", "told"),
    [
        ([helper.make_node("Identity", ["picture"], ["out"])], [1, 3], "style-not-separable"),
        ([helper.make_node("Identity", ["style"], ["out"])], [1, 3, 8, 8], "style-not-separable"),
        ([helper.make_node("Add", ["picture", "style"], ["out"])], [1, 3, 320, 320], "style-too-large"),
        (
            [
                helper.make_node("NonZero", ["style"], ["where"]),
                helper.make_node("Shape", ["where"], ["size"]),
                helper.make_node("Cast", ["size"], ["number"], to=1),
                helper.make_node("ReduceSum", ["number"], ["one"], keepdims=0),
                helper.make_node("Cast", ["where"], ["places"], to=1),
                helper.make_node("ReduceMax", ["picture"], ["most"], keepdims=0),
                helper.make_node("Mul", ["places", "most"], ["out"]),
            ],
            [1, 3],
            "style-not-separable",
        ),
    ],
)
def test_a_network_that_cannot_be_cut_is_refused(nodes, style: list[int], told: str) -> None:
    from pipeline.support.errors import PipelineError

    example = np.ones(style, np.float32)
    other = example.copy()
    other.flat[0] = 0
    with pytest.raises(PipelineError) as caught:
        style_split.split(two(nodes, style), "style", [example, other], Path("net.onnx"))
    assert caught.value.code == told
