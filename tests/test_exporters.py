"""Architectures x opsets of PyTorch's exporter x targets: nothing left to find, the same numbers at two sizes."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from pipeline import targets
from pipeline.graph import from_model, to_model
from pipeline.rewrites import lower
from pipeline.validate import validate
from pipeline.verify.proof import as_target_computes

OPSETS = (9, 13, 17)
SIZES = ((32, 48), (64, 32))
"""Height and width; the first is what is exported and declared."""
TOLERANCE = 1e-4
"""Of the range of the source's output."""


def networks():
    """The architectures by name, each a function that makes a small torch module."""
    import torch
    from torch import nn
    from torch.nn import functional

    from pipeline.architectures import build
    from tests.architectures.test_few_shot import SMALL

    def conv(given, made, size=3, stride=1, groups=1):
        return nn.Conv2d(given, made, size, stride, size // 2, groups=groups)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.down, self.deep = conv(3, 4), conv(4, 6, stride=2), conv(6, 8, stride=2)
            self.up, self.last = conv(14, 6), conv(10, 3)

        def forward(self, x):
            first = torch.relu(self.first(x))
            down = torch.relu(self.down(first))
            deep = functional.interpolate(torch.relu(self.deep(down)), scale_factor=2.0, mode="nearest")
            up = torch.relu(self.up(torch.cat([deep, down], 1)))
            return self.last(torch.cat([functional.interpolate(up, scale_factor=2.0, mode="nearest"), first], 1))

    class AdaIN(nn.Module):
        """The statistics of every channel come from a branch that looks at the whole picture."""

        def __init__(self):
            super().__init__()
            self.first, self.last = conv(3, 6), conv(6, 3)
            self.scale, self.shift = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)

        def forward(self, x):
            seen = x.mean((2, 3), keepdim=True)
            y = functional.instance_norm(self.first(x))
            return self.last(torch.relu(y * (1 + self.scale(seen)) + self.shift(seen)))

    def mobile(given, made, stride=1):
        return [
            conv(given, given, stride=stride, groups=given),
            nn.BatchNorm2d(given),
            nn.ReLU6(),
            conv(given, made, 1),
            nn.BatchNorm2d(made),
            nn.Hardswish(),
        ]

    return {
        "plain style network": lambda: build("fast-neural-style", {"widths": [4, 6, 8], "blocks": 5}),
        "GeneratorJ": lambda: build("few-shot", SMALL),
        "U-Net": UNet,
        "super-resolution": lambda: nn.Sequential(
            conv(3, 6, 5), nn.ReLU(), conv(6, 12), nn.PReLU(12), conv(12, 12), nn.PixelShuffle(2)
        ),
        "pix2pix": lambda: nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 3, 4, 2, 1),
            nn.Tanh(),
        ),
        "MobileNet": lambda: nn.Sequential(
            *mobile(3, 8),
            *mobile(8, 8, 2),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            conv(8, 3, 1),
            nn.Sigmoid(),
        ),
        "GroupNorm": lambda: nn.Sequential(
            conv(3, 8), nn.GroupNorm(4, 8), nn.SiLU(), conv(8, 8), nn.GroupNorm(2, 8), nn.GELU(), conv(8, 3)
        ),
        "AdaIN": AdaIN,
    }


NAMES = (
    "plain style network",
    "GeneratorJ",
    "U-Net",
    "super-resolution",
    "pix2pix",
    "MobileNet",
    "GroupNorm",
    "AdaIN",
)


@cache
def network(name):
    """The module with weights that are all distinct, in eval mode."""
    import torch

    torch.manual_seed(NAMES.index(name))
    made = networks()[name]().eval()
    with torch.no_grad():
        for key, value in made.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.dtype == torch.float32:
                value.add_(torch.randn_like(value) * 0.05)
    return made


@cache
def exported(name, opset):
    import torch

    written = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(name),
            (torch.zeros(1, 3, *SIZES[0]),),
            written,
            opset_version=opset,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
        )
    return onnx.load_from_string(written.getvalue())


@cache
def expected(name):
    import torch

    with torch.no_grad():
        pictures = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5)) for size in SIZES]
        return [(picture.numpy(), network(name)(picture).numpy()) for picture in pictures]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", NAMES)
def test_a_network_from_any_opset_is_computed_right_on_every_target(name, opset):
    for held in targets.names():
        target = targets.get(held)
        graph = from_model(exported(name, opset))
        result = lower(graph, target)
        assert not result.refusals
        made = to_model(graph)
        left = [found for found in validate(made, target) if found.severity in ("error", "wrong", "warning")]
        assert not left
        computed = as_target_computes(made, target)
        for picture, wanted in expected(name):
            got = computed(picture)
            assert got.shape == wanted.shape
            assert np.abs(got - wanted).max() <= TOLERANCE * (wanted.max() - wanted.min())


def written(graph):
    """Every node's operator, attributes and constants; without the names, which exporters choose."""
    constants = [
        [held.values.tobytes() for held in made.inputs if isinstance(held, gs.Constant)] for made in graph.nodes
    ]
    return repr([(made.op, sorted(made.attrs.items())) for made in graph.nodes]), repr(constants)


def test_the_plain_style_network_is_small_and_the_same_graph_from_every_opset():
    for held in targets.names():
        graphs = [from_model(exported("plain style network", opset)) for opset in OPSETS]
        for graph in graphs:
            lower(graph, targets.get(held))
        assert len({written(graph) for graph in graphs}) == 1
        assert len(graphs[0].nodes) <= 64
