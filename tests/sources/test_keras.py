"""Keras .h5 files of Fritz's network."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.architectures import build, load, recognise
from pipeline.sources.keras import read_keras
from pipeline.support.errors import MissingDependency, PipelineError
from tests.sources.files import fritz_config, fritz_h5


def error_of(path: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read_keras(path)
    return caught.value


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_weights_are_read_in_layer_order_not_in_order_of_names(tmp_path: Path, blocks: int) -> None:
    expected = fritz_h5(tmp_path / "a.h5", blocks=blocks)
    state = read_keras(tmp_path / "a.h5")
    assert set(state.tensors) == set(expected)
    assert all(np.array_equal(state.tensors[k], v) for k, v in expected.items())
    assert recognise(state).params == {"widths": [4, 6, 8], "blocks": blocks}


def test_a_file_of_weights_alone_is_read_and_says_what_it_assumes(tmp_path: Path) -> None:
    fritz_h5(tmp_path / "a.h5", config=None)
    state = read_keras(tmp_path / "a.h5")
    assert recognise(state).name == "fritz"
    assert any("only weights" in note for note in state.notes)


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        (4, "strides", [1, 1]),
        (1, "padding", "valid"),
        (2, "epsilon", 1e-5),
        (3, "activation", "elu"),
        (16, "size", [3, 3]),
        (16, "interpolation", "bilinear"),
        (2, "axis", None),
    ],
)
def test_another_keras_network_with_the_same_weights_is_refused(
    tmp_path: Path, layer: int, key: str, value: Any
) -> None:
    config = copy.deepcopy(fritz_config(1))
    config[layer]["config"][key] = value
    fritz_h5(tmp_path / "a.h5", config=config)
    error = error_of(tmp_path / "a.h5")
    assert error.code == "unknown-architecture"
    assert f"layer_{layer}" in error.message
    assert key in error.message


def test_a_network_without_its_output_mapping_is_refused(tmp_path: Path) -> None:
    fritz_h5(tmp_path / "a.h5", config=fritz_config(1)[:-1])
    assert "number of layers" in error_of(tmp_path / "a.h5").message


def test_a_foreign_hdf5_file_is_distinguished(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pictures"] = np.zeros((2, 2))
    assert error_of(tmp_path / "a.h5").code == "not-a-keras-model"


def test_dense_layers_are_another_network(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        group["dense/kernel:0"], group["dense/bias:0"] = np.zeros((4, 4)), np.zeros(4)
    assert error_of(tmp_path / "a.h5").code == "unknown-architecture"


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    fritz_h5(tmp_path / "a.h5", **{"norm3.bias": np.full(8, np.nan, np.float32)})
    error = error_of(tmp_path / "a.h5")
    assert (error.code, "norm3.bias" in error.message) == ("not-finite-weights", True)


def test_a_file_cut_off_anywhere_is_one_clear_error(tmp_path: Path) -> None:
    fritz_h5(tmp_path / "whole.h5")
    whole = (tmp_path / "whole.h5").read_bytes()
    path = tmp_path / "a.h5"
    for length in [9, 40, 96, *range(500, len(whole), 14503), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert error_of(path).code in ("truncated-file", "damaged-file")


def test_a_file_that_hdf5_does_not_come_back_from_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fritz_h5(tmp_path / "a.h5")
    monkeypatch.setattr("pipeline.sources.keras.SECONDS", 0.02)
    assert error_of(tmp_path / "a.h5").code == "time-limit"
    monkeypatch.setenv("PIPELINE_TIME_LIMIT", "60")
    read_keras(tmp_path / "a.h5")


def test_damaged_bytes_never_escape_as_anything_but_a_pipeline_error(tmp_path: Path) -> None:
    fritz_h5(tmp_path / "whole.h5")
    whole = (tmp_path / "whole.h5").read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "a.h5"
    for _ in range(8):
        content = bytearray(whole)
        for position in random.integers(8, min(len(whole), 30_000), 4):
            content[position] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            read_keras(path)
        except PipelineError as error:
            assert error.remedy


def test_without_h5py_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fritz_h5(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependency, match="h5py"):
        read_keras(tmp_path / "a.h5")


def test_the_real_files_have_the_published_counts_and_paint_like_their_conversions(
    shared_models: Path,
) -> None:
    import onnxruntime as ort

    x = np.random.default_rng(0).uniform(0, 255, (1, 3, 256, 256)).astype(np.float32)
    for stem, converted, count in (
        ("starry_night_256x256_small_a03", "starry_night_small_a03", 11_868),
        ("starry_night_256x256_025", "starry_night_025", 108_374),
    ):
        found = recognise(read_keras(shared_models / "fritz" / f"{stem}.h5"))
        assert found.weights == count
        session = ort.InferenceSession(shared_models / "fritz" / f"{converted}.converted.onnx")
        (expected,) = session.run(None, {session.get_inputs()[0].name: x})
        with torch.inference_mode():
            output = load(build(found.name, found.params), found.tensors)(torch.from_numpy(x)).numpy()
        assert np.abs(output - expected).max() < 0.5
