"""pipeline inspect, from the outside."""

from __future__ import annotations

import json

from tests.networks import style_checkpoint, style_onnx


def test_a_checkpoint_is_reported_with_its_architecture_contract_and_cost(pipeline, tmp_path):
    done = pipeline("inspect", style_checkpoint(tmp_path / "s.pth"), "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["architecture"] == "fast-neural-style"
    assert report["details"]["widths"] == [4, 6, 8]
    assert report["contract"]["input"]["range"] == "0..255"
    assert report["cost"]["operators"]["Constant"] == {"before": 2, "after": 0}
    sizes = report["cost"]["sizes"]
    ratio = sizes["1280x720"]["giga_macs"] / sizes["720x540"]["giga_macs"]
    assert abs(ratio - 1280 * 720 / (720 * 540)) < 0.01


def test_the_macs_of_a_convolution_are_counted_by_hand(pipeline, tmp_path):
    """3 -> 4 channels at half size and 4 -> 3 at full size, 3x3 kernels: (108 / 4 + 108) per pixel."""
    done = pipeline("inspect", style_onnx(tmp_path / "n.onnx"), "--json")
    size = json.loads(done.out)["cost"]["sizes"]["720x540"]
    assert size["giga_macs"] == round((108 / 4 + 108) * 720 * 540 / 1e9, 3)
    # At the worst time the upsampled map and its padded copy are alive: 4 x 540 x 720 and 4 x 542 x 722 floats.
    assert size["peak_megabytes"] == round((4 * 540 * 720 + 4 * 542 * 722) * 4 / 1e6, 1)


def test_text_shows_both_tables(pipeline, tmp_path):
    done = pipeline("inspect", style_onnx(tmp_path / "n.onnx"))
    assert "before  after" in done.out and "1920x1080" in done.out
    assert "not given by the file" in done.out


def test_a_choice_that_the_file_leaves_open_is_listed(pipeline, tmp_path):
    import torch

    checkpoint = style_checkpoint(tmp_path / "s.pth")
    state = torch.load(checkpoint, weights_only=True)
    torch.save({k.replace("res1.", "resnets.0."): v for k, v in state.items()}, checkpoint)
    done = pipeline("inspect", checkpoint)
    assert done.code == 0 and "fast-neural-style-residual-skips" in done.out
