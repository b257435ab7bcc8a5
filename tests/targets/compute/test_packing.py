"""Plans with small weights, the files of a bundle, and a build from the outside."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from pipeline import targets
from pipeline.build.job import build_unity
from pipeline.build.options import BuildOptions
from pipeline.compress.bundling import Packing
from pipeline.compress.job import CompressOptions
from pipeline.contract import ImageContract, ImageSide
from pipeline.targets.compute import emulation, packing
from pipeline.unity.guid import guid
from tests.targets.compute.networks import made, model

COMPUTE = targets.get("compute")
CONTRACT = ImageContract(ImageSide("0..1", 3), ImageSide("0..1", 3))


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


def test_auto_takes_the_smallest_that_is_good_enough():
    _, small, facts = packed("auto", min_psnr=36.0)
    assert facts["weights"] in packing.KINDS and facts["psnr"] >= 36
    smaller = packing.KINDS[packing.KINDS.index(facts["weights"]) - 1]
    _, less, worse = packed(smaller)
    assert len(less) < len(small) and worse["psnr"] < 36


def test_files_refer_to_each_other_by_their_guids():
    data = COMPUTE.family.write(made("style"), COMPUTE)
    files = COMPUTE.family.model_files("Candy", data, COMPUTE)
    assert list(files) == ["CandyNetwork.asset", "Candy.compute", "Candy.bytes"]
    asset = files["CandyNetwork.asset"].decode()
    folder = "StyleTransfer/Models/Candy"
    assert f"kernels: {{fileID: 7200000, guid: {guid(f'{folder}/Candy.compute')}, type: 3}}" in asset
    assert f"plan: {{fileID: 4900000, guid: {guid(f'{folder}/Candy.bytes')}, type: 3}}" in asset
    assert guid("StyleTransfer/Engines/Compute/CompiledNetwork.cs") in asset
    kernels = files["Candy.compute"].decode()
    plan = packing.plan_of(data)
    names = re.findall(r"^#pragma kernel (\w+) ENTRY=\1 ", kernels, re.MULTILINE)
    assert sorted(names) == names and len(set(names)) == len(names) >= 6
    included = set(re.findall(r'#include "../../Engines/Compute/Kernels/(\w+).hlsl"', kernels))
    assert included == {dispatch.kernel for dispatch in plan.dispatches}
    for line in kernels.splitlines():
        words = [word.partition("=")[0] for word in line.split()[3:]] if line.startswith("#pragma") else []
        assert len(set(words)) == len(words), "a macro is defined twice"


def test_half_precision_is_a_target_of_its_own():
    half = targets.get("compute-half")
    plan = packing.plan_of(half.family.write(made("style"), half))
    assert plan.half and half.family.tolerance(half, 0.5) == 4.0 and COMPUTE.family.tolerance(COMPUTE, 0.5) == 0.5
    picture = np.random.default_rng(0).random((1, 3, 40, 40), dtype=np.float32)
    full = emulation.runner(packing.plan_of(COMPUTE.family.write(made("style"), COMPUTE)))(picture)
    error = np.abs(emulation.runner(plan)(picture) - full).max()
    assert 0 < 255 * error < 4


def test_a_bundle_is_built(tmp_path):
    onnx.save(model(made("style")), tmp_path / "style.onnx")
    options = BuildOptions(target="compute", input_range="0..1", output_range="0..1")
    built = build_unity(tmp_path / "style.onnx", output=tmp_path, options=options, use_cache=False)
    assert built.report["proof"]["passed"] and built.report["findings"] == []
    folder = tmp_path / "StyleTransfer"
    assert (folder / "Engines/Compute/Kernels/Conv.hlsl").exists()
    assert (folder / "Models/Style/Style.compute").exists()
    plan = packing.plan_of((folder / "Models/Style/Style.bytes").read_bytes())
    assert plan.metadata["source_digest"] and plan.names[0] == "image"
