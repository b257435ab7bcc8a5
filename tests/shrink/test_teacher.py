"""Teachers of every kind, as functions from pictures to paintings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as f

from pipeline import sources
from pipeline.build.export import export
from pipeline.contract import ImageContract, ImageSide
from pipeline.shrink.teacher import Teacher, rebuilt
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from tests.networks import style_checkpoint, style_onnx

CPU = torch.device("cpu")


def pictures(height: int = 72, width: int = 80) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


def test_an_onnx_teacher_of_another_range_paints_in_onnx_runtime(tmp_path):
    options = sources.ReadOptions(input_range="0..1", output_range="0..1")
    network = sources.read(style_onnx(tmp_path / "net.onnx", size=(64, 64)), options)
    painter = Teacher(network, CPU)
    assert painter.eyes is None and painter.module is None
    expected = np.concatenate([sources.reference(network)(p[None].numpy() / 255) for p in pictures()])
    assert np.abs(painter.run(pictures()).numpy() - np.clip(expected, 0, 1) * 255).max() < 0.01


@pytest.fixture
def exported(tmp_path):
    """An ONNX file whose initializers have the names of the checkpoint it was exported from."""
    network = sources.read(style_checkpoint(tmp_path / "net.pth"))
    model = export(network, Size(80, 64))
    onnx.save(model, tmp_path / "net.onnx")
    ranges = sources.ReadOptions(input_range="0..255", output_range="0..255")
    return network, model, sources.read(tmp_path / "net.onnx", ranges)


def test_an_onnx_file_with_the_weights_of_a_known_network_becomes_that_network(exported):
    network, _, read = exported
    found = rebuilt(read)
    assert found is not None and found.architecture == "fast-neural-style"
    painter = Teacher(read, CPU)
    assert painter.eyes is not None
    assert torch.allclose(painter.run(pictures()), Teacher(network, CPU).run(pictures()), atol=0.01)


def test_numbered_weights_in_the_order_of_a_checkpoint_become_that_network(exported, tmp_path):
    """As PyTorch 1.0 wrote them; such files often run at one size only."""
    network, model, _ = exported
    order = list(network.module.state_dict())
    numbers = {name: str(number) for number, name in enumerate(order, start=1)}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    others = [tensor for name, tensor in stored.items() if name not in numbers]
    del model.graph.initializer[:]
    for name in order:
        tensor = stored[name]
        tensor.name = numbers[name]
        model.graph.initializer.append(tensor)
    model.graph.initializer.extend(others)
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = numbers.get(name, name)
    onnx.save(model, tmp_path / "numbered.onnx")
    ranges = sources.ReadOptions(input_range="0..255", output_range="0..255")
    found = rebuilt(sources.read(tmp_path / "numbered.onnx", ranges))
    assert found is not None and found.architecture == "fast-neural-style"
    picture = pictures()[:1].numpy()
    assert np.allclose(sources.reference(found)(picture), sources.reference(network)(picture), atol=0.01)


def test_a_graph_that_paints_otherwise_than_its_weights_suggest_stays_a_graph(exported, tmp_path):
    _, model, _ = exported
    for tensor in model.graph.initializer:
        if tensor.name == "in1.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Sigmoid"
    onnx.save(model, tmp_path / "other.onnx")
    ranges = sources.ReadOptions(input_range="0..255", output_range="0..255")
    assert rebuilt(sources.read(tmp_path / "other.onnx", ranges)) is None


class Deep(nn.Module):
    """Halves four times and comes back: sizes are multiples of 16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return f.interpolate(f.avg_pool2d(x, 16), scale_factor=16.0)


def test_the_multiple_of_a_deep_teacher_is_found():
    assert Teacher(Deep(), CPU).multiple == 16
    assert Teacher(nn.Identity(), CPU).multiple == 8


def test_a_teacher_of_masks_and_one_that_enlarges_are_refused(exported):
    network, _, _ = exported
    mask = ImageContract(ImageSide("0..1"), ImageSide("0..1", channels=1))
    with pytest.raises(PipelineError) as caught:
        Teacher(replace(network, contract=mask), CPU)
    assert caught.value.code == "channels-differ"
    with pytest.raises(PipelineError, match="144x128") as caught:
        Teacher(nn.Upsample(scale_factor=2), CPU)
    assert caught.value.code == "sizes-differ"


def test_a_closed_teacher_has_no_hooks_left(exported):
    network, _, _ = exported
    painter = Teacher(network, CPU)
    painter.close()
    assert not any(m._forward_hooks for m in network.module.modules())
