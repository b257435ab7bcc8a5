"""The user's own module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.sources import ReadOptions, own_module, read, reference
from pipeline.support.errors import PipelineError

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, padding=1)
        self.b = nn.Conv2d(width, 3, 3, padding=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.b(self.drop(torch.relu(self.a(x))))

def wide():
    return Net(8)

def fails():
    raise RuntimeError("no GPU here\\nand more")

def wants_width(width):
    return Net(width)

def calls_wrongly():
    return nn.Conv2d(3)

def gives_nothing():
    return 3

def each_convolution(norm):
    net = Net()
    for name in ("a", "b"):
        norm(getattr(net, name))
    return net

def spectral():
    return each_convolution(nn.utils.spectral_norm)

def weight():
    return each_convolution(nn.utils.weight_norm)

def parametrized_spectral():
    return each_convolution(nn.utils.parametrizations.spectral_norm)

def parametrized_weight():
    return each_convolution(nn.utils.parametrizations.weight_norm)

def pruned():
    from torch.nn.utils import prune
    return each_convolution(lambda conv: prune.l1_unstructured(conv, "weight", 0.3))
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_own_net.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_own_net", None)


def test_a_factory_in_the_current_folder_is_called_and_filled(code: Path) -> None:
    module, file = own_module.make("my_own_net:Net")
    assert file == code / "my_own_net.py"
    torch.save({"state_dict": module.state_dict()}, "net.pth")
    network = read(
        Path("net.pth"),
        ReadOptions(
            architecture="my_own_net:Net", input_range="imagenet", output_range="0..1", channel_order="bgr"
        ),
    )
    assert network.architecture == "my_own_net:Net"
    assert network.weights == sum(p.numel() for p in module.parameters())
    assert network.companions == (code / "my_own_net.py",)
    assert network.contract is not None
    assert (network.contract.input.value_range, network.contract.input.order) == ("imagenet", "bgr")
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 20)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x)).numpy()
    assert np.array_equal(reference(network)(x), expected)
    assert any("was run" in note for note in network.notes)


def test_without_declared_ranges_there_is_no_contract(code: Path) -> None:
    torch.save(own_module.make("my_own_net:wide")[0].state_dict(), "net.pth")
    assert read(Path("net.pth"), ReadOptions(architecture="my_own_net:wide")).contract is None


def test_weights_of_another_width_are_named(code: Path) -> None:
    torch.save(own_module.make("my_own_net:wide")[0].state_dict(), "net.pth")
    with pytest.raises(PipelineError, match=r"'a\.weight' has the shape .* instead of \[4, 3, 3, 3\]") as caught:
        read(Path("net.pth"), ReadOptions(architecture="my_own_net:Net"))
    assert caught.value.code == "weights-do-not-fit"


@pytest.mark.parametrize(
    ("spec", "error_code", "said"),
    [
        ("no_such_module_here:Net", "own-module-not-found", "no_such_module_here"),
        ("my_own_net:Missing", "own-module-not-found", "Missing"),
        ("my_own_net.py:Net", "own-module-not-found", "package.module:factory"),
        (":Net", "own-module-not-found", "package.module:factory"),
        ("my_own_net:fails", "own-module-failed", "RuntimeError: no GPU here"),
        ("my_own_net:wants_width", "own-module-failed", "without arguments"),
        ("my_own_net:calls_wrongly", "own-module-failed", "Test it in the same folder"),
        ("my_own_net:gives_nothing", "own-module-failed", "returned a int"),
    ],
)
def test_what_goes_wrong_with_it_is_one_line(code: Path, spec: str, error_code: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        own_module.make(spec)
    assert caught.value.code == error_code
    assert said in str(caught.value)
    assert "and more" not in str(caught.value)


def test_a_module_that_imports_what_is_missing_is_the_users_error(code: Path) -> None:
    (code / "my_own_net.py").write_text("import not_installed_at_all\n")
    with pytest.raises(PipelineError, match="not_installed_at_all") as caught:
        own_module.make("my_own_net:Net")
    assert caught.value.code == "own-module-failed"


def test_the_python_path_is_left_as_it_was(code: Path) -> None:
    before = list(sys.path)
    own_module.make("my_own_net:Net")
    assert sys.path == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", ["spectral", "weight", "parametrized_spectral", "parametrized_weight", "pruned"])
def test_a_module_with_reparametrised_weights_paints_as_it_did(code: Path, norm: str) -> None:
    torch.manual_seed(0)
    module, _ = own_module.make(f"my_own_net:{norm}")
    x = torch.rand(1, 3, 16, 20)
    for _ in range(3):
        module(x)
    torch.save(module.state_dict(), "net.pth")
    network = read(Path("net.pth"), ReadOptions(architecture=f"my_own_net:{norm}"))
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert np.abs(reference(network)(x.numpy()) - expected).max() < 1e-6
