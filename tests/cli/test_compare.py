"""pipeline compare, from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.networks import style_checkpoint, style_onnx

DECLARED = ("--input-range", "0..1", "--output-range", "0..1")


def nudged(source: Path, path: Path, name: str, by: float, channel: int) -> Path:
    """A copy of an .onnx file with one value of one initializer changed."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values[channel] += by
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return path


def linear(source: Path, path: Path) -> Path:
    """The same network with its Upsample in mode linear."""
    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "Upsample":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("mode", "linear"))
            node.name = "bigger"
    onnx.save(model, path)
    return path


def single(path: Path, *nodes: onnx.NodeProto | tuple, **constants: np.ndarray) -> Path:
    """A network of a node or a few from `x`, whose shape comes last, to `y`."""
    *nodes, shape = nodes
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    return path


@pytest.fixture
def net(tmp_path) -> Path:
    return style_onnx(tmp_path / "net.onnx")


def test_a_file_is_equal_to_itself(pipeline, net):
    done = pipeline("compare", net, net, *DECLARED)
    assert done.code == 0, done.err
    assert "picture  320x180: largest 0.0000" in done.out and "noise    320x180" in done.out
    assert "within 0.5 levels" in done.err


def test_a_changed_bias_is_measured_and_its_channel_reported(pipeline, net, tmp_path):
    other = nudged(net, tmp_path / "other.onnx", "b2", -2 / 255, channel=1)
    done = pipeline("compare", net, other, *DECLARED, "--json")
    assert done.code == 1
    report = json.loads(done.out)
    assert report["passed"] is False and report["would_have_passed_at"] == pytest.approx(2, abs=2e-3)
    assert [comparison["input"] for comparison in report["comparisons"]] == ["picture", "noise"]
    for comparison in report["comparisons"]:
        assert comparison["max_levels"] == pytest.approx(2, abs=2e-3) and comparison["worst"]["channel"] == 1
        assert 0.1 < comparison["mean_levels"] < 2 / 3 + 1e-4
    assert (report["a"]["file"], report["b"]["file"], report["b"]["computed_as"]) == (
        "net.onnx",
        "other.onnx",
        "itself",
    )


def test_the_tolerance_that_is_reported_passes(pipeline, net, tmp_path):
    other = nudged(net, tmp_path / "other.onnx", "b2", -2 / 255, channel=1)
    report = json.loads(pipeline("compare", net, other, *DECLARED, "--json").out)
    assert pipeline("compare", net, other, *DECLARED, "--tolerance", report["would_have_passed_at"]).code == 0
    assert (
        pipeline("compare", net, other, *DECLARED, "--tolerance", report["would_have_passed_at"] - 2e-3).code == 1
    )


def test_bisect_names_the_node_whose_bias_was_changed(pipeline, net, tmp_path):
    other = nudged(net, tmp_path / "other.onnx", "b2", -2 / 255, channel=1)
    report = json.loads(pipeline("compare", net, other, *DECLARED, "--bisect", "--json").out)["bisect"]
    assert report["first_parting"]["operator"] == "Conv" and report["first_parting"]["tensor"] == "painted"
    assert report["first_parting"]["last_agreement"] == {"a": "p2", "b": "p2"}
    assert report["height"] < 100


def test_bisect_names_nothing_where_they_agree(pipeline, net):
    done = pipeline("compare", net, net, *DECLARED, "--bisect")
    assert done.code == 0 and "no node differs: the graphs compute the same" in done.out


@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-2.0", "barracuda-3.0"])
def test_a_target_computes_a_good_file_as_it_is(pipeline, net, target):
    assert pipeline("compare", net, net, *DECLARED, "--target", target).code == 0


def test_a_target_shows_what_it_computes_otherwise_and_where(pipeline, net, tmp_path):
    source = linear(net, tmp_path / "linear.onnx")
    assert pipeline("compare", source, source, *DECLARED).code == 0
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-3.0", "--bisect", "--json")
    report = json.loads(done.out)
    assert done.code == 1 and report["b"]["computed_as"] == "barracuda-3.0"
    assert report["a"]["computed_as"] == "itself"
    assert report["bisect"]["first_parting"]["node"] == "bigger"
    assert report["bisect"]["first_parting"]["tensors_agreed_before"] == 4


def test_both_lets_a_be_computed_as_the_target_too(pipeline, net, tmp_path):
    source = linear(net, tmp_path / "linear.onnx")
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-3.0", "--both", "--json")
    assert done.code == 0 and json.loads(done.out)["a"]["computed_as"] == "barracuda-3.0"
    assert "[conflicting-options]" in pipeline("compare", source, source, *DECLARED, "--both").err


def test_the_target_reads_the_file_and_not_what_reading_made_of_it(pipeline, net, tmp_path):
    """1.0.4 pads nothing where the pads are an input: reading must not have turned the attributes into inputs."""
    source = linear(net, tmp_path / "linear.onnx")
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-1.0", "--bisect", "--json")
    assert json.loads(done.out)["bisect"]["first_parting"]["node"] == "bigger"


def test_what_the_target_refuses_is_noted(pipeline, tmp_path):
    source = single(tmp_path / "n.onnx", helper.make_node("Erf", ["x"], ["y"]), (1, 3, 16, 16))
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-1.0")
    assert done.code == 0 and "barracuda-1.0 refuses it (Erf" in done.err


def test_strides_that_a_target_swaps_end_with_1_and_the_node(pipeline, tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="tall", strides=[2, 1])
    source = single(tmp_path / "n.onnx", node, (1, 3, 32, 48), w=np.eye(3).reshape(3, 3, 1, 1))
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-3.0")
    assert done.code == 1 and "[target-differs]" in done.err and "--bisect" in done.err
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-3.0", "--bisect", "--json")
    assert done.code == 1 and "Conv tall" in done.err
    assert json.loads(done.out)["report"]["bisect"]["first_parting"]["node"] == "tall"


def test_a_difference_that_is_cut_away_is_still_named(pipeline, tmp_path):
    """Add(scalar) before a padded Conv is wrong at the border alone, and the border is cropped."""
    source = single(
        tmp_path / "n.onnx",
        helper.make_node("Add", ["x", "c"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["t"], name="padded", pads=[1] * 4),
        helper.make_node("Slice", ["t"], ["y"], axes=[2, 3], starts=[1, 1], ends=[-1, -1]),
        (1, 3, 32, 48),
        c=0.5,
        w=np.full((3, 3, 3, 3), 0.02),
    )
    done = pipeline("compare", source, source, *DECLARED, "--target", "barracuda-3.0", "--bisect")
    assert done.code == 0 and "bisect   Conv padded" in done.out


def test_what_is_different_only_at_the_full_size_is_looked_for_there(pipeline, tmp_path):
    def brighter(name: str, row: int) -> Path:
        """Every pixel plus a little of all rows from `row` on."""
        return single(
            tmp_path / name,
            helper.make_node("Slice", ["x"], ["below"], axes=[2], starts=[row], ends=[10**6]),
            helper.make_node("ReduceSum", ["below"], ["sum"], name="sum", axes=[1, 2, 3], keepdims=1),
            helper.make_node("Mul", ["sum", "k"], ["little"]),
            helper.make_node("Add", ["x", "little"], ["y"], name="brighter"),
            (1, 3, 32, 48),
            k=1e-5,
        )

    done = pipeline("compare", brighter("a.onnx", 100), brighter("b.onnx", 140), *DECLARED, "--bisect", "--json")
    report = json.loads(done.out)["bisect"]
    assert done.code == 1 and (report["width"], report["height"]) == (320, 180)
    assert report["first_parting"] is not None


# --- checkpoints, bundles, contracts --------------------------------------------------------------------------


def test_a_checkpoint_in_0_to_255_compares_with_its_bundle_in_0_to_1(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "my_style.pth")
    assert pipeline("build-unity", source, "-o", tmp_path / "out").code == 0
    bundle = tmp_path / "out" / "StyleTransfer" / "Models" / "MyStyle"
    done = pipeline("compare", source, bundle, "--target", "barracuda-3.0", "--bisect", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["a"]["contract"]["input"]["range"], report["b"]["contract"]["input"]["range"]) == (
        "0..255",
        "0..1",
    )
    assert report["b"]["file"] == "MyStyle.onnx" and report["would_have_passed_at"] < 0.1
    assert report["bisect"]["first_parting"] is None
    note = pipeline("compare", source, bundle)
    assert note.code == 0 and "B was built for barracuda-3.0" in note.err


def test_bisect_finds_a_change_between_a_checkpoint_and_a_lowered_graph(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "my_style.pth")
    pipeline("build-unity", source, "-o", tmp_path / "out")
    bundle = tmp_path / "out" / "StyleTransfer" / "Models" / "MyStyle" / "MyStyle.onnx"
    norms = [n for n in onnx.load(bundle).graph.node if n.op_type == "InstanceNormalization"]
    other = nudged(bundle, tmp_path / "other.onnx", norms[3].input[2], 0.5, channel=2)
    done = pipeline("compare", source, other, "--bisect", "--json")
    assert done.code == 1, done.err
    parting = json.loads(done.out)["bisect"]["first_parting"]
    assert parting["operator"] == "InstanceNormalization"
    assert parting["largest_difference"] == pytest.approx(0.5, abs=1e-3) and parting["worst"][1] == 2
    assert parting["tensors_agreed_before"] > 8


def test_a_checkpoint_against_a_target_is_its_plain_export(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "my_style.pth")
    done = pipeline("compare", source, source, "--target", "barracuda-3.0", "--both")
    assert done.code == 0, done.err
    assert (
        "B: exported to ONNX without rewrites" in done.err
        and "--both has no effect: A is torch-zip, not an .onnx" in done.err
    )


def test_a_contract_that_no_file_tells_is_asked_for(pipeline, net, tmp_path):
    done = pipeline("compare", style_checkpoint(tmp_path / "s.pth"), net)
    assert done.code == 2 and "[contract-missing]" in done.err and "B (onnx)" in done.err
    assert "[contract-incomplete]" in pipeline("compare", net, net, "--input-range", "0..1").err


def test_declared_ranges_do_not_override_what_a_file_tells(pipeline, tmp_path):
    source = style_checkpoint(tmp_path / "s.pth")
    done = pipeline("compare", source, source, *DECLARED, "--json")
    assert json.loads(done.out)["a"]["contract"]["input"]["range"] == "0..255"


def test_a_folder_that_is_no_bundle_is_refused(pipeline, net, tmp_path):
    done = pipeline("compare", net, tmp_path, *DECLARED)
    assert done.code == 2 and "[not-a-bundle]" in done.err


# --- what cannot be compared ----------------------------------------------------------------------------------


def test_other_channels_are_an_error(pipeline, net, tmp_path):
    grey = helper.make_node("Conv", ["x", "w"], ["y"])
    mask = single(tmp_path / "mask.onnx", grey, (1, 3, 32, 48), w=np.full((1, 3, 1, 1), 1 / 3))
    done = pipeline("compare", net, mask, *DECLARED)
    assert done.code == 2 and "[channels-differ]" in done.err
    assert "A has 3 channels as output, B 1 channel" in done.err
    one = single(tmp_path / "one.onnx", grey, (1, 1, 32, 48), w=np.ones((1, 1, 1, 1)))
    assert "A has 3 channels as input, B 1 channel" in pipeline("compare", net, one, *DECLARED).err


def test_pictures_of_other_sizes_are_an_error(pipeline, net, tmp_path):
    double = helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest")
    big = single(tmp_path / "big.onnx", double, (1, 3, 32, 48), s=[1, 1, 2, 2])
    done = pipeline("compare", net, big, *DECLARED)
    assert done.code == 2 and "[sizes-differ]" in done.err
    assert "the output of A is 320x180 and that of B 640x360" in done.err


def test_a_file_bound_to_one_size_sets_it(pipeline, net, tmp_path):
    def bound(name: str, height: int, width: int) -> Path:
        node = helper.make_node("Add", ["x", "c"], ["y"])
        return single(tmp_path / name, node, (1, 3, height, width), c=np.zeros((1, 3, height, width)))

    first, second = bound("a.onnx", 24, 40), bound("b.onnx", 16, 20)
    done = pipeline("compare", first, net, *DECLARED, "--json", "--tolerance", "255")
    assert [(h["width"], h["height"]) for h in json.loads(done.out)["comparisons"]] == [(40, 24)] * 2
    done = pipeline("compare", first, second, *DECLARED)
    assert done.code == 2 and "[sizes-differ]" in done.err and "only at 40x24, B only at 20x16" in done.err
    done = pipeline("compare", first, net, *DECLARED, "--size", "64x48")
    assert done.code == 2 and "[size-does-not-run]" in done.err and "--size 40x24" in done.err


def test_the_size_can_be_chosen(pipeline, net):
    done = pipeline("compare", net, net, *DECLARED, "--size", "64x48", "--json")
    assert [(h["width"], h["height"]) for h in json.loads(done.out)["comparisons"]] == [(64, 48)] * 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--size", "960"), "bad-size"),
        (("--tolerance", "-1"), "bad-tolerance"),
        (("--tolerance", "nan"), "bad-tolerance"),
        (("--target", "barracuda-9"), "unknown-target"),
        (("--picture", "nowhere.png"), "file-not-found"),
        (("--difference", "net.onnx"), "bad-picture"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(pipeline, net, arguments, code):
    done = pipeline("compare", net, net, *DECLARED, *arguments)
    assert done.code == 2 and f"[{code}]" in done.err and "Traceback" not in done.err


# --- the difference picture -----------------------------------------------------------------------------------


def test_the_difference_is_written_and_its_factor_told(pipeline, net, tmp_path):
    other = nudged(net, tmp_path / "other.onnx", "b2", -2 / 255, channel=1)
    path = tmp_path / "apart.png"
    done = pipeline("compare", net, other, *DECLARED, "--size", "64x48", "--difference", path, "--json")
    report = json.loads(done.out)["difference_picture"]
    assert report["file"] == "apart.png" and report["input"] == "picture"
    assert report["amplification"] == pytest.approx(127.5, rel=1e-3)
    with Image.open(path) as image:
        assert image.size == (64 * 3 + 16, 48)
        assert image.getpixel((64 * 2 + 16 + 20, 20)) == (255, 255, 255)
    before = path.read_bytes()
    pipeline("compare", net, other, *DECLARED, "--size", "64x48", "--difference", path)
    assert path.read_bytes() == before


# --- real files -----------------------------------------------------------------------------------------------


def test_a_published_export_paints_what_its_checkpoint_paints(pipeline, shared_models):
    folder = shared_models / "fast_neural_style"
    done = pipeline(
        "compare",
        folder / "mosaic_nc8.model",
        folder / "mosaic_nc8_128x128.onnx",
        "--input-range",
        "0..255",
        "--output-range",
        "0..255",
        "--tolerance",
        "0.1",
        "--bisect",
        "--json",
    )
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["comparisons"][0]["width"] == 128 and report["bisect"]["first_parting"] is None


def test_two_styles_of_one_network_part_at_the_first_convolution(pipeline, shared_models):
    folder = shared_models / "cjmills"
    ranges = ("--input-range", "0..255", "--output-range", "0..255")
    done = pipeline("compare", folder / "final.onnx", folder / "mosaic_final.onnx", *ranges, "--bisect", "--json")
    assert done.code == 1
    parting = json.loads(done.out)["bisect"]["first_parting"]
    first = next(n for n in onnx.load(folder / "final.onnx").graph.node if n.op_type == "Conv")
    assert (parting["operator"], parting["tensor"]) == ("Conv", first.output[0])
