"""Plans with small weights, the files of a bundle, and a build from the outside."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.build import prove, steadiness
from pipeline.build.job import build_unity
from pipeline.build.options import BuildOptions
from pipeline.build.rebuild import rebuild_arguments
from pipeline.compress.bundling import Packing
from pipeline.compress.job import CompressOptions
from pipeline.contract import ImageContract, ImageSide
from pipeline.graph.integers import QuantizedTensor
from pipeline.support.errors import PipelineError
from pipeline.support.size import Size
from pipeline.targets.compute import calibration, emulation, file, packing
from pipeline.targets.compute.kernels import kernel_name
from pipeline.unity.bundle import SHARED, model_folder, render
from pipeline.unity.guid import guid
from pipeline.unity.package import NAME, split
from pipeline.unity.writer import install
from tests.targets.compute.networks import made, model, restyled
from tests.unity.bundles import spec

COMPUTE = targets.get("compute")
CONTRACT = ImageContract(ImageSide("0..1", 3), ImageSide("0..1", 3))
HALF = BuildOptions(target="compute", precision="half", input_range="0..1", output_range="0..1", size=Size(64, 48))


@functools.cache
def packed(weights: str, **more):
    data = COMPUTE.family.write(made("style"), COMPUTE)
    return data, *COMPUTE.family.pack(data, COMPUTE, Packing(CompressOptions(weights, **more), CONTRACT))


@pytest.mark.parametrize(
    ("weights", "least", "share"), [("half", 60, 0.75), ("int8", 40, 0.55), ("int4", 15, 0.45)]
)
def test_small_weights_cost_what_the_facts_say(weights, least, share):
    data, small, facts = packed(weights)
    assert small[:4] == b"STPK" and len(small) == facts["bytes"] < share * len(data)
    assert facts["psnr"] > least
    picture = np.random.default_rng(0).random((1, 3, 40, 40), dtype=np.float32)
    error = COMPUTE.family.runner(small, COMPUTE)(picture) - COMPUTE.family.runner(data, COMPUTE)(picture)
    assert 10 ** (-(facts["psnr"] + 12) / 20) < np.sqrt((error**2).mean()) < 10 ** (-(facts["psnr"] - 12) / 20)


def test_auto_shares_bits_by_what_layers_bear():
    """It is smaller than any equal number of bits that is as near, and tells how many bits each layer got."""
    _, small, facts = packed("auto", min_psnr=36.0, table=True)
    assert facts["psnr"] >= 36
    assert facts["bytes"] == len(small) > facts["plan_bytes"] > 500
    near = [row["bytes"] for row in facts["table"] if (row["psnr"] or 99) >= facts["psnr"]]
    assert len(small) < min(near)
    bits = {tensor["bits"] for tensor in facts["tensors"] if len(tensor["shape"]) == 4}
    assert len(bits) > 1, "layers differ in how much they bear"
    assert sum(tensor["bytes"] for tensor in facts["tensors"]) < facts["bytes"] - facts["plan_bytes"] + 64


def test_rounding_passes_errors_on(monkeypatch):
    _, _, facts = packed("int4")
    monkeypatch.setattr(calibration.Running, "moments", lambda self, of: {})
    _, _, nearest = packed.__wrapped__("int4")
    assert facts["psnr"] > nearest["psnr"] + 2


def test_integers_that_the_source_came_with_are_kept():
    data = COMPUTE.family.write(made("style"), COMPUTE)
    number, stored = next((i, w) for i, w in enumerate(packing.plan_of(data).weights) if w.kind == "conv")
    ints = np.random.default_rng(0).integers(-100, 100, stored.data.shape)
    came = QuantizedTensor("w", ints, np.float32(0.004), np.int64(0), None)
    plan = packing.plan_of(data)
    plan.weights[number].data = (ints * np.float32(0.004)).astype(np.float32)
    small, facts = COMPUTE.family.pack(
        file.write(plan), COMPUTE, Packing(CompressOptions("int4"), CONTRACT, [came])
    )
    assert facts["own_integers"] == 1
    kept = packing.plan_of(small).weights[number].data
    assert np.array_equal(np.rint(kept / 0.004), ints)


def test_files_refer_to_each_other_by_their_guids():
    data = COMPUTE.family.write(made("style"), COMPUTE)
    files, shared = (
        COMPUTE.family.model_files("Candy", data, COMPUTE),
        COMPUTE.family.shared_files(data, COMPUTE),
    )
    assert list(files) == ["CandyNetwork.asset", "Candy.bytes"] and files["Candy.bytes"] == data
    ((file_name, text),) = shared.items()
    asset = files["CandyNetwork.asset"].decode()
    assert f"kernels: {{fileID: 7200000, guid: {guid(f'{SHARED}/{file_name}')}, type: 3}}" in asset
    plan_guid = guid(f"{model_folder('Candy')}/Candy.bytes")
    assert f"plan: {{fileID: 4900000, guid: {plan_guid}, type: 3}}" in asset
    assert guid("StyleTransfer/Engines/Compute/CompiledNetwork.cs") in asset
    kernels = text.decode()
    plan = packing.plan_of(data)
    names = re.findall(r"^#pragma kernel (\w+) ENTRY=\1 ", kernels, re.MULTILINE)
    assert sorted(names) == names and len(set(names)) == len(names) >= 6
    assert set(names) == {kernel_name(dispatch, plan.half) for dispatch in plan.dispatches}, (
        "what FindKernel finds"
    )
    included = set(re.findall(r'#include "../Engines/Compute/Kernels/(\w+).hlsl"', kernels))
    assert included == {dispatch.kernel for dispatch in plan.dispatches}
    for line in kernels.splitlines():
        words = [word.partition("=")[0] for word in line.split()[3:]] if line.startswith("#pragma") else []
        assert len(set(words)) == len(words), "a macro is defined twice"


def bundle(name: str, network: str, seed: int = 0) -> dict[str, bytes]:
    data = COMPUTE.family.write(restyled(made(network), seed), COMPUTE)
    return render(spec(name, onnx=data, target=COMPUTE))


def kernels_in(assets: Path) -> list[str]:
    return sorted(path.name for path in (assets / SHARED).glob("*.compute"))


def test_two_styles_of_one_plan_share_their_kernels(tmp_path):
    """Built one after the other into one Assets folder: one ComputeShader, to which both refer."""
    for name, seed in (("Candy", 1), ("Mosaic", 2)):
        assert not install(bundle(name, "style", seed), tmp_path).kept
    (kernels,) = kernels_in(tmp_path)
    assets = [(tmp_path / model_folder(n) / f"{n}Network.asset").read_text() for n in ("Candy", "Mosaic")]
    assert all(guid(f"{SHARED}/{kernels}") in asset for asset in assets)
    plans = [(tmp_path / model_folder(n) / f"{n}.bytes").read_bytes() for n in ("Candy", "Mosaic")]
    assert plans[0] != plans[1], "their weights differ"


def test_shared_kernels_go_with_the_last_style_that_needs_them(tmp_path):
    install(bundle("Candy", "style", 1), tmp_path)
    install(bundle("Mosaic", "style", 2), tmp_path)
    (style,) = kernels_in(tmp_path)
    meta = tmp_path / SHARED / f"{style}.meta"
    meta.write_bytes(meta.read_bytes() + b"  more: 0\n")  # as the Unity editor does
    again = install(bundle("Udnie", "style", 3), tmp_path)
    assert not again.kept and not again.beside
    install(bundle("Candy", "grey"), tmp_path)
    assert style in kernels_in(tmp_path) and len(kernels_in(tmp_path)) == 2
    install(bundle("Mosaic", "grey"), tmp_path)
    install(bundle("Udnie", "grey"), tmp_path)
    assert len(kernels_in(tmp_path)) == 1 and style not in kernels_in(tmp_path) and not meta.exists()


def test_kernels_that_the_user_edited_stay(tmp_path):
    install(bundle("Candy", "style"), tmp_path)
    (name,) = kernels_in(tmp_path)
    (tmp_path / SHARED / name).write_text("edited")
    install(bundle("Candy", "grey"), tmp_path)
    assert name in kernels_in(tmp_path) and (tmp_path / SHARED / name).read_text() == "edited"


def test_shared_kernels_stay_in_assets_where_the_runtime_is_a_package():
    assets, package = split(bundle("Candy", "style"), "Candy")
    (kernels,) = (path for path in assets if path.endswith(".compute"))
    assert kernels.startswith(f"{SHARED}/") and not any(path.endswith(".compute") for path in package)
    included = re.findall(r'#include "Packages/(.+)"', assets[kernels].decode())
    assert included and all(path.startswith(f"{NAME}/Engines/Compute/") and path in package for path in included)
    manifest = json.loads(assets[f"{model_folder('Candy')}/bundle.json"])
    assert manifest["files"][kernels] == hashlib.sha256(assets[kernels]).hexdigest()
    assert manifest["target"] == "compute"


def test_half_precision_is_a_target_of_its_own():
    half = targets.get("compute-half")
    plan = packing.plan_of(half.family.write(made("style"), half))
    assert plan.half and half.family.tolerance(half, 0.5) == 4.0 and COMPUTE.family.tolerance(COMPUTE, 0.5) == 0.5
    assert half.family.least_psnr(half) == 60.0 and COMPUTE.family.least_psnr(COMPUTE) is None
    picture = np.random.default_rng(0).random((1, 3, 40, 40), dtype=np.float32)
    full = emulation.runner(packing.plan_of(COMPUTE.family.write(made("style"), COMPUTE)))(picture)
    error = np.abs(emulation.runner(plan)(picture) - full).max()
    assert 0 < 255 * error < 4


def test_precision_chooses_the_target_and_stands_in_the_words_that_build_again():
    requested = BuildOptions(target="compute", precision="half")
    assert requested.target == "compute-half" and rebuild_arguments(requested) == ["--precision", "half"]
    named = BuildOptions(target="compute-half")
    assert named.precision == "half" and rebuild_arguments(named) == ["--precision", "half"]
    assert BuildOptions(target="compute").precision == "float" and rebuild_arguments(BuildOptions()) == []
    for target, precision in (("barracuda-3.0", "half"), ("compute", "quarter")):
        with pytest.raises(PipelineError, match="--target compute") as refused:
            BuildOptions(target=target, precision=precision)
        assert refused.value.code == "bad-precision"


def test_a_bundle_in_half_precision_is_built_and_proven_in_decibels(tmp_path, monkeypatch):
    monkeypatch.setattr(steadiness, "steadiness", lambda *_: None)
    onnx.save(model(made("style")), tmp_path / "style.onnx")
    built = build_unity(tmp_path / "style.onnx", output=tmp_path, options=HALF, use_cache=False)
    proof, folder = built.report["proof"], tmp_path / "StyleTransfer"
    assert proof["passed"] and proof["least_psnr"] == 60 and built.report["findings"] == []
    assert min(comparison["psnr"] for comparison in proof["comparisons"]) > 60
    assert (folder / "Engines/Compute/Kernels/Conv.hlsl").exists()
    plan = packing.plan_of((folder / "Models/Style/Style.bytes").read_bytes())
    assert plan.half and plan.metadata["source_digest"] and plan.names[0] == "image"
    assert "goldenTolerance: 4.5" in (folder / "Models/Style/Style.asset").read_text()


def test_half_precision_that_is_too_far_is_refused(tmp_path, monkeypatch):
    onnx.save(model(made("style")), tmp_path / "style.onnx")
    monkeypatch.setattr(type(COMPUTE.family), "least_psnr", lambda self, target: 90.0)
    with pytest.raises(PipelineError, match="90") as failed:
        prove.make(tmp_path / "style.onnx", HALF, lambda *_: None, bake_contract=True)
    assert failed.value.code == "proof-failed" and "--precision" in (failed.value.remedy or "")
