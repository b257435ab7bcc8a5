"""Reading as a whole: one door, contracts, declarations, digests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.architectures import build
from pipeline.sources import ReadOptions, read
from pipeline.support.errors import PipelineError
from tests.sources.files import conv_model, fritz_h5

PARAMS = {"widths": [4, 6, 8], "blocks": 1}


def checkpoint(path: Path, prefix: str = "", resnets: bool = False, **options: Any) -> Path:
    torch.manual_seed(0)
    state = build("fast-neural-style", PARAMS).state_dict()
    if resnets:
        state = {name.replace("res1.", "resnets.0."): value for name, value in state.items()}
    torch.save({prefix + name: value for name, value in state.items()}, path, **options)
    return path


def onnx_file(path: Path, **options: Any) -> Path:
    path.write_bytes(conv_model(**options).SerializeToString())
    return path


def code_of(path: Path, **options: str) -> str:
    with pytest.raises(PipelineError) as caught:
        read(path, ReadOptions(**options))
    return caught.value.code


@pytest.mark.parametrize("extension", [".pth", ".pt", ".model", ".ckpt", ".bin", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_style_network_is_read_whatever_it_is_called(tmp_path: Path, extension: str, zipped: bool) -> None:
    path = checkpoint(tmp_path / f"my mosaic{extension}", _use_new_zipfile_serialization=zipped)
    network = read(path)
    assert network.name == "my mosaic"
    assert network.architecture == "fast-neural-style"
    assert network.details == PARAMS
    assert network.module is not None and not network.module.training
    assert network.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_everything_that_reading_did_is_noted(tmp_path: Path) -> None:
    network = read(checkpoint(tmp_path / "a.onnx", prefix="module."))
    assert any(".onnx" in note for note in network.notes)
    assert any("prefix module." in note for note in network.notes)


def test_safetensors_and_keras_go_through_the_same_door(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(build("fast-neural-style", PARAMS).state_dict(), tmp_path / "a.safetensors")
    assert read(tmp_path / "a.safetensors").format == "safetensors"
    fritz_h5(tmp_path / "b.h5")
    network = read(tmp_path / "b.h5")
    assert (network.format, network.architecture, network.name) == ("keras-h5", "fritz", "b")


def test_the_ambiguous_layout_is_asked_for_and_answered(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth", resnets=True)
    assert code_of(path) == "ambiguous-architecture"
    network = read(path, ReadOptions(architecture="fast-neural-style-residual-skips"))
    assert network.architecture == "fast-neural-style-residual-skips"
    assert "--architecture" in network.reason


def test_declarations_override_the_architecture_and_each_fact_has_its_source(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth")
    plain = read(path).contract
    assert plain is not None
    assert set(plain.sources.values()) == {"architecture fast-neural-style"}
    named = ReadOptions("fast-neural-style", input_range="0..1", channel_order="bgr", name="Other")
    contract = read(path, named).contract
    assert contract is not None
    assert (contract.input.value_range, contract.output.value_range) == ("0..1", "0..255")
    assert (contract.input.order, contract.output.order) == ("bgr", "bgr")
    assert contract.sources == {
        "input_range": "--input-range",
        "output_range": "architecture fast-neural-style",
        "channel_order": "--channel-order",
        "size_multiple": "architecture fast-neural-style",
    }


def test_a_name_can_be_given(tmp_path: Path) -> None:
    assert read(checkpoint(tmp_path / "a.pth.tar"), ReadOptions(name="Rain")).name == "Rain"
    assert read(tmp_path / "a.pth.tar").name == "a"


def test_an_onnx_file_has_no_contract_until_it_is_declared(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    assert read(path).contract is None
    contract = read(path, ReadOptions(input_range="-1..1", output_range="0..255")).contract
    assert contract is not None
    assert (contract.input.value_range, contract.output.value_range) == ("-1..1", "0..255")
    assert contract.sources["input_range"] == "--input-range"
    assert "not declared" in contract.sources["channel_order"]


def test_half_a_declaration_is_an_error_not_a_guess(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    assert code_of(path, input_range="0..1") == "contract-incomplete"
    assert code_of(path, output_range="0..1") == "contract-incomplete"


def test_a_channels_last_file_has_its_layout_in_the_contract(tmp_path: Path) -> None:
    from onnx import helper

    before = helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2])
    model = conv_model(
        before=[before], shape=(1, 16, 24, 3), out_shape=(1, 1, 16, 24), weight=np.zeros((1, 3, 3, 3), np.float32)
    )
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    contract = read(tmp_path / "a.onnx", ReadOptions(input_range="0..1", output_range="0..1")).contract
    assert contract is not None
    assert (contract.input.layout, contract.input.channels) == ("nhwc", 3)
    assert (contract.output.layout, contract.output.channels) == ("nchw", 1)


def test_a_contract_in_the_files_metadata_is_taken_and_said(tmp_path: Path) -> None:
    model = conv_model()
    side = {"range": "0..1", "channels": 3, "order": "rgb", "layout": "nchw"}
    model.metadata_props.add(key="image_contract", value=json.dumps({"input": side, "output": side}))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    network = read(tmp_path / "a.onnx")
    assert network.contract is not None
    assert "metadata" in network.contract.sources["input_range"]
    assert any("metadata" in note for note in network.notes)


def test_onnx_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[1, 1] = np.nan
    assert code_of(onnx_file(tmp_path / "a.onnx", weight=weight)) == "not-finite-weights"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"input_range": "0-255"}, "bad-value-range"),
        ({"channel_order": "rbg"}, "bad-channel-order"),
        ({"architecture": "unet"}, "unknown-architecture-name"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, options: dict[str, str], code: str) -> None:
    assert code_of(checkpoint(tmp_path / "a.pth"), **options) == code


def test_an_architecture_for_a_file_that_brings_its_graph_is_an_error(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    assert code_of(path, architecture="fast-neural-style") == "architecture-does-not-apply"


class Holder(torch.nn.Module):
    """A module tree with the names of a state dict, to be pickled whole."""

    def put(self, name: str, value: torch.Tensor) -> None:
        first, _, rest = name.partition(".")
        if not rest:
            self.register_parameter(first, torch.nn.Parameter(value))
            return
        if first not in dict(self.named_children()):
            self.add_module(first, Holder())
        child = self.get_submodule(first)
        assert isinstance(child, Holder)
        child.put(rest, value)


def test_a_whole_module_saved_in_training_mode_is_evaluated_and_noted(tmp_path: Path) -> None:
    whole = Holder()
    for name, value in build("fast-neural-style", PARAMS).state_dict().items():
        whole.put(name, value)
    torch.save(whole.train(), tmp_path / "a.pth")
    network = read(tmp_path / "a.pth")
    assert (network.format, network.architecture) == ("torch-module", "fast-neural-style")
    assert network.module is not None and not network.module.training
    assert any("training mode" in note for note in network.notes)


def test_importing_and_reading_onnx_never_imports_torch(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline import sources\n"
        "from pipeline.build import export\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'h5py'} & set(sys.modules), 'heavy import'\n"
        f"network = sources.read(Path({str(path)!r}))\n"
        "from pipeline.support.size import Size\n"
        "export.export(network, Size(64, 64))\n"
        "assert not {'torch', 'onnxruntime', 'h5py'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_all_real_networks_go_through_the_door(shared_models: Path) -> None:
    expected = {
        "fast_neural_style/mosaic_nc8.model": ("torch-legacy", "fast-neural-style", 108_771),
        "fast_neural_style/candy_nc16.model": ("torch-legacy", "fast-neural-style", 424_899),
        "fritz/starry_night_256x256_small_a03.h5": ("keras-h5", "fritz", 11_868),
        "fritz/starry_night_256x256_025.h5": ("keras-h5", "fritz", 108_374),
        "fewshot/model_00001.synthetic.pth": ("torch-module", "few-shot", 152_179),
        "fewshot/model_00001.synthetic.state_dict.pth": ("torch-zip", "few-shot", 152_179),
        "cjmills/12_small.onnx": ("onnx", "onnx", 108_771),
    }
    found = {}
    for name in expected:
        network = read(shared_models / name)
        found[name] = (network.format, network.architecture, network.weights)
    assert found == expected
