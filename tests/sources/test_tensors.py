"""State dicts out of every container."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.sources.tensors import read_state
from pipeline.support.errors import PipelineError


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 3, 1)))


def same(state: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> bool:
    return list(state) == list(expected) and all(
        np.array_equal(state[k], v.float().numpy() if v.is_floating_point() else v.numpy())
        for k, v in expected.items()
    )


def code_of(path: Path) -> str:
    with pytest.raises(PipelineError) as caught:
        read_state(path)
    return caught.value.code


@pytest.mark.parametrize("zipped", [True, False])
def test_both_torch_containers_give_the_same_state(tmp_path: Path, zipped: bool) -> None:
    expected = small().state_dict()
    torch.save(expected, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    state = read_state(tmp_path / "a.pth")
    assert same(state.tensors, expected)
    assert state.format == ("torch-zip" if zipped else "torch-legacy")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_widened_to_float32(tmp_path: Path, dtype: torch.dtype, zipped: bool) -> None:
    value = torch.randn(5, 7).to(dtype)
    torch.save({"w": value}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_state(tmp_path / "a.pth").tensors["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, value.float().numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_one_storage_are_read_with_offset_and_stride(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(60.0).reshape(5, 12)
    state = {"t": base.t(), "part": base[1:4, 2:9:3], "row": base[2].expand(4, 12), "whole": base}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_state(tmp_path / "a.pth").tensors, state)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_that_plain_pickle_wrote_is_read(tmp_path: Path, protocol: int) -> None:
    expected = small().state_dict()
    with (tmp_path / "a.pkl").open("wb") as file:
        pickle.dump(expected, file, protocol)
    assert same(read_state(tmp_path / "a.pkl").tensors, expected)


def test_safetensors_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    expected = {"a.weight": torch.randn(3, 2), "b": torch.randn(4).bfloat16(), "n": torch.tensor([3])}
    save_file(expected, tmp_path / "a.safetensors")
    assert same(dict(sorted(read_state(tmp_path / "a.safetensors").tensors.items())), expected)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_gives_its_state_and_class_names(tmp_path: Path, zipped: bool) -> None:
    module = small()
    module.train()
    torch.save(module, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    state = read_state(tmp_path / "a.pth")
    assert same(state.tensors, module.state_dict())
    assert state.format == "torch-module"
    assert state.classes[""] == "torch.nn.modules.container.Sequential"
    assert state.classes["1"] == "torch.nn.modules.batchnorm.BatchNorm2d"
    assert state.attributes["training"] is True
    assert any("none of its code was run" in note for note in state.notes)


def test_a_module_in_data_parallel_is_unwrapped(tmp_path: Path) -> None:
    torch.save(nn.DataParallel(small()), tmp_path / "a.pth")
    assert same(read_state(tmp_path / "a.pth").tensors, small().state_dict())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "params", "generator"])
def test_a_checkpoint_dict_is_searched_and_the_place_named(tmp_path: Path, key: str) -> None:
    model = small()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.zeros(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    checkpoint = {
        "epoch": 3,
        key: model.state_dict(),
        "optimizer": optimiser.state_dict(),
        "loss": torch.tensor(1.0),
    }
    torch.save(checkpoint, tmp_path / "a.pth")
    state = read_state(tmp_path / "a.pth")
    assert same(state.tensors, model.state_dict())
    assert any(repr(key) in note for note in state.notes)


def test_two_networks_in_one_checkpoint_are_named_not_guessed(tmp_path: Path) -> None:
    torch.save({"ema": small().state_dict(), "model": small().state_dict()}, tmp_path / "a.pth")
    with pytest.raises(PipelineError, match="'ema', 'model'") as caught:
        read_state(tmp_path / "a.pth")
    assert caught.value.code == "several-state-dicts"


@pytest.mark.parametrize("content", [{"epoch": 1}, [1, 2], torch.zeros(3), {"a": torch.zeros(3)}, None])
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert code_of(tmp_path / "a.pth") == "no-state-dict"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_name_the_first_tensor(tmp_path: Path, value: float) -> None:
    state = small().state_dict()
    state["1.weight"][2] = value
    state["2.0.weight"][0] = value
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(PipelineError, match=r"'1\.weight' has 1 values") as caught:
        read_state(tmp_path / "a.pth")
    assert caught.value.code == "not-finite-weights"


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        import os

        return os.system, ("touch was-run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_runs_code_is_refused_and_not_run(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": small().state_dict(), "extra": {"deep": [Evil()]}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert code_of(tmp_path / "a.pth") == "unsafe-pickle"
    assert not (tmp_path / "was-run").exists()


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", b"\0" * 50_000_000)
    assert (tmp_path / "a.pth").stat().st_size < 100_000
    assert code_of(tmp_path / "a.pth") == "zip-bomb"


def forged(shape: tuple[int, ...], stride: tuple[int, ...], offset: int, numel: int = 12) -> bytes:
    """A torch zip whose one tensor claims this view of a storage that holds 12 values."""

    class Id(tuple):
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return tuple(value) if isinstance(value, Id) else None

    class Tensor:
        def __reduce__(self) -> Any:
            storage = Id(("storage", torch.FloatStorage, "0", "cpu", numel))
            return torch._utils._rebuild_tensor_v2, (storage, offset, shape, stride, False, {})

    pickled = io.BytesIO()
    Pickler(pickled, 2).dump({"w": Tensor()})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickled.getvalue())
        archive.writestr("a/data/0", struct.pack("<12f", *range(12)))
        archive.writestr("a/version", "3")
    return buffer.getvalue()


def test_a_forged_view_inside_its_storage_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(forged((2, 3), (6, 2), 1))
    assert np.array_equal(read_state(tmp_path / "a.pth").tensors["w"], [[1, 3, 5], [7, 9, 11]])


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "numel"),
    [
        ((3, 5), (4, 1), 0, 12),
        ((2, 2), (2, 1), 9, 12),
        ((2, 2), (-2, 1), 4, 12),
        ((-2, -2), (1, 1), 0, 12),
        ((2, 2), (2, 1), -1, 12),
        ((2, 2, 2), (2, 1), 0, 12),
        ((1 << 20, 1 << 20), (0, 0), 0, 12),
        ((4, 4), (4, 1), 0, 16),
        ((1 << 45, 2), (1, 1), 0, 12),
        ((2, 2), (2, 1), 0, 1 << 38),
    ],
)
def test_a_view_outside_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...], offset: int, numel: int
) -> None:
    (tmp_path / "a.pth").write_bytes(forged(shape, stride, offset, numel))
    assert code_of(tmp_path / "a.pth") in ("damaged-file", "truncated-file", "over-budget")


@pytest.fixture(scope="module")
def whole_files() -> Iterator[dict[str, bytes]]:
    from safetensors.torch import save

    files = {}
    for name, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        for kind, content in (("state", small().state_dict()), ("module", small())):
            buffer = io.BytesIO()
            torch.save(content, buffer, **options)
            files[f"{name}-{kind}"] = buffer.getvalue()
    files["pickle"] = pickle.dumps(small().state_dict())
    files["safetensors"] = save(small().state_dict())
    yield files


KINDS = ("zip-state", "zip-module", "legacy-state", "legacy-module", "pickle", "safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_anywhere_is_one_clear_error(
    tmp_path: Path, whole_files: dict[str, bytes], kind: str
) -> None:
    whole = whole_files[kind]
    path = tmp_path / "a.pth"
    for length in sorted({*range(0, len(whole), 97), *range(0, 64), *range(len(whole) - 64, len(whole))}):
        path.write_bytes(whole[:length])
        with pytest.raises(PipelineError) as caught:
            read_state(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_escape_as_anything_but_a_pipeline_error(
    tmp_path: Path, whole_files: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    content = bytearray(whole_files[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.pth"
    path.write_bytes(bytes(content))
    try:
        read_state(path)
    except PipelineError as error:
        assert error.code and error.remedy


def test_modules_nested_without_end_are_refused(tmp_path: Path) -> None:
    module: nn.Module = nn.Conv2d(3, 3, 1)
    for _ in range(150):
        module = nn.Sequential(module)
    torch.save(module, tmp_path / "a.pth")
    assert code_of(tmp_path / "a.pth") == "damaged-file"


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    torch.save(small().state_dict(), tmp_path / "a.pth")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from pipeline.sources.tensors import read_state\n"
        f"print(len(read_state(Path({str(tmp_path / 'a.pth')!r})).tensors))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "9"


def test_the_real_checkpoints_have_their_published_sizes(shared_models: Path) -> None:
    counts = {
        "fast_neural_style/mosaic_nc8.model": (62, 108_771),
        "fast_neural_style/mosaic_nc16.model": (62, 424_899),
        "cjmills/final.pth": (62, 108_771),
    }
    for name, (tensors, values) in counts.items():
        state = read_state(shared_models / name).tensors
        assert (len(state), sum(v.size for v in state.values())) == (tensors, values)


def test_the_real_files_agree_with_torch_bit_for_bit(shared_models: Path) -> None:
    for name in (
        "fast_neural_style/candy_nc16.model",
        "cjmills/final.pth",
        "fewshot/model_00001.synthetic.state_dict.pth",
    ):
        expected = torch.load(shared_models / name, map_location="cpu", weights_only=True)
        assert same(read_state(shared_models / name).tensors, expected)
