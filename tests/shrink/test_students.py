"""Networks with knobs: the texts, and the exact numbers of weights."""

from __future__ import annotations

import pytest
import torch

from pipeline import architectures
from pipeline.architectures import STATISTICS
from pipeline.shrink.students import families, parse, save, spec_of
from pipeline.sources import ReadOptions, read
from pipeline.support.errors import PipelineError

PUBLISHED = {
    "fast-neural-style:32,64,128x5": 1_679_235,
    "fast-neural-style:16,32,64x5": 424_899,
    "fast-neural-style:8,16,32x5": 108_771,
    "fast-neural-style:9x3": 11_964,
    "fast-neural-style-skips:9,9,9x3": 11_964,
    "fritz:1.0": 1_677_638,
    "fritz:0.5": 424_102,
    "fritz:0.25": 108_374,
    "fritz:0.3,small": 11_868,
    "fritz:1,small": 108_422,
    "few-shot:32,64,128,128,128,64x7": 3_267_523,
    "few-shot:32,64,128x4": 2_381_251,
    "few-shot:8,16,32x4": 152_179,
    "few-shot:8,16,32x7": 207_859,
    "few-shot:16,32,32,32,32,32x3": 207_747,
}
"""Numbers of weights as published, and as counted on real files (shared/models/systems.md)."""


@pytest.mark.parametrize(("spec", "count"), PUBLISHED.items())
def test_the_published_numbers_of_weights_are_exact(spec, count):
    assert parse(spec).weights == count


@pytest.mark.parametrize(
    "spec",
    ["fast-neural-style-skips:9x3", "fast-neural-style-skips:6x2r3", "fritz:0.3,small", "few-shot:4,6,8x1"],
)
def test_the_module_has_the_weights_that_the_text_promises(spec):
    student = parse(spec)
    module = student.build()
    assert sum(p.numel() for p in module.parameters()) == student.weights
    trained = {k: tuple(v.shape) for k, v in module.state_dict().items() if not STATISTICS.search(k)}
    assert trained == {k: v for k, v in student.shapes.items() if not STATISTICS.search(k)}
    with torch.no_grad():
        assert module(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)


def test_the_weights_follow_from_the_seed_and_leave_the_callers_randomness_alone():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    a, b, c = (parse("fast-neural-style:4x1").build(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), before)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


@pytest.mark.parametrize(
    "spec",
    [*PUBLISHED, "fast-neural-style:8,16,32x5k7", "fast-neural-style:8,16,32x5k7r4", "few-shot-no-norm:4,6,8x0"],
)
def test_the_parameters_are_written_as_the_text_that_gives_them(spec):
    student = parse(spec)
    again = parse(spec_of(student.architecture, student.params))
    assert (again.architecture, again.params) == (student.architecture, student.params)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("fast-neural-style", "no parameters"),
        ("fast-neural-style:8,16x5", "three widths"),
        ("fast-neural-style:0x5", "from 1 to"),
        ("fast-neural-style:8x99", "blocks from 0"),
        ("fast-neural-style:8,16,32x5k8", "must be odd"),
        ("fast-neural-style:8,16,32x5r0", "at least 1"),
        ("fast-neural-style:8,16,32x5r48", "no convolution has fewer weights"),
        ("fritz:8,16,32x5r4", "factored convolutions of fast-neural-style"),
        ("fast-neural-style:0.3", "WIDTHSxBLOCKS"),
        (f"fast-neural-style:{'9' * 5000}x5", "WIDTHSxBLOCKS"),
        ("fritz:0.01", "first width of 0"),
        ("fritz:0.3,tiny", "ALPHA"),
        ("few-shot:8,16,32,64,32,16x4", "fourth filter"),
        ("few-shot:8,16x4", "six filters"),
    ],
)
def test_a_text_that_makes_no_network_is_refused_with_the_reason(spec, reason):
    with pytest.raises(PipelineError, match=reason) as caught:
        parse(spec)
    assert caught.value.code == "bad-student"


def test_only_convolutions_of_stride_1_that_lose_weights_are_factored():
    whole, factored = parse("fast-neural-style:8,16,32x1"), parse("fast-neural-style:8,16,32x1r12")
    saved = sum((inputs * outputs * k * k - 12 * (inputs + outputs) * k) for inputs, outputs, k in (
        (3, 8, 9), (32, 32, 3), (32, 32, 3), (32, 16, 3), (16, 8, 3), (8, 3, 9)
    ))  # fmt: skip
    residual, decoder = ["res1.conv1", "res1.conv2"], ["deconv1", "deconv2", "deconv3"]
    assert list(factored.ranks) == ["conv1", *residual, *decoder]
    assert factored.weights == whole.weights - saved
    assert set(parse("fast-neural-style:8,16,32x1r20").ranks) == {"res1.conv1", "res1.conv2", "deconv1"}


def test_an_unknown_family_is_answered_with_the_nearest():
    with pytest.raises(PipelineError, match=r"did you mean fast-neural-style\?"):
        parse("fast-neural-stile:8x5")


def test_families_of_students_are_those_with_widths_to_choose():
    for name in architectures.names():
        if name in families():
            assert parse(f"{name}:8x2").weights > 0
        else:
            with pytest.raises(PipelineError, match="not a family of students"):
                parse(f"{name}:8x2")


@pytest.mark.parametrize(
    "spec",
    [
        "fast-neural-style:4x1",
        "fast-neural-style-skips:4x2",
        "fast-neural-style-skips:4x2r2",
        "fritz:4x1",
        "few-shot:4x1",
        "few-shot-no-norm:4x1",
    ],
)
def test_what_is_saved_is_read_as_the_same_network_without_being_asked(spec, tmp_path):
    student = parse(spec)
    module = student.build(3)
    save(module, student.architecture, tmp_path / "net.pth")
    network = read(tmp_path / "net.pth")
    assert (network.architecture, network.weights) == (student.architecture, student.weights)
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network.module(picture), module(picture))


def test_an_architecture_in_a_checkpoint_can_be_overruled_and_an_unknown_one_is_passed_over(tmp_path):
    module = parse("fast-neural-style-skips:4x2").build()
    save(module, "fast-neural-style-skips", tmp_path / "net.pth")
    chosen = read(tmp_path / "net.pth", ReadOptions(architecture="fast-neural-style"))
    assert chosen.architecture == "fast-neural-style"
    torch.save({"architecture": "resnet50", "state_dict": module.state_dict()}, tmp_path / "other.pth")
    assert read(tmp_path / "other.pth").architecture == "fast-neural-style"
