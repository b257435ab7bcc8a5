"""Packed weights in `.sentis` files: this tool's rounding beside that of Unity's ModelQuantizer, in the same file.

    python benchmarks/sentis_weights.py MODEL.onnx ... [--picture PICTURE]

For each model: bytes of the file with float weights, with ModelQuantizer's bytes (one scale for a tensor, rounded
to the nearest, biases too: QuantizeConstantsPass.cs@2.1.3, written out here), and with int8 and half of this tool;
and how near each comes to the float network, in dB (PSNR, peak 255) on the worst of three pictures. MODEL takes
and gives pictures; its value range is seen in what it gives.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import targets
from pipeline.compress.bundling import Packing
from pipeline.compress.choose import worst
from pipeline.compress.job import CompressOptions
from pipeline.compress.running import Running
from pipeline.graph import from_model
from pipeline.targets.inference.packing import pack
from pipeline.targets.inference.sentis.format import encode
from pipeline.targets.inference.sentis.layers import Packed, program_of

_QUANTISED = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")


def model_quantizer(model: onnx.ModelProto) -> tuple[dict[str, Packed], dict[str, np.ndarray]]:
    """What ModelQuantizer makes of a model's constants: bytes, and what they stand for."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    packed, real = {}, {}
    for node in model.graph.node:
        for name in node.input if node.op_type in _QUANTISED else ():
            values = weights.get(name)
            if values is None or values.dtype != np.float32:
                continue
            scale = np.float32((max(values.max(), 0) - min(values.min(), 0)) / 255)
            zero = int(np.clip(np.rint(-values.min() / scale), 0, 255))
            steps = np.clip(np.rint(values / scale) + zero, 0, 255)
            packed[name] = Packed(steps, zero, np.array([scale]))
            real[name] = ((steps - zero) * scale).astype(np.float32)
    return packed, real


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="the picture to measure with")
    chosen = parser.parse_args()
    target = targets.get("inference-2")
    print("| model | float | ModelQuantizer | int8 | half |\n|---|---|---|---|---|")
    for path in chosen.models:
        data = target.family.write(from_model(onnx.load(path)), target)
        model = onnx.load_from_string(data)
        packed, real = model_quantizer(model)
        theirs = worst(Running(model, None, (), chosen.picture).psnr(real))
        cells = [
            f"{len(encode(program_of(model))):,}",
            f"{len(encode(program_of(model, packed))):,}, {theirs:.1f} dB",
        ]
        for kind in ("int8", "half"):
            content, facts = pack(data, Packing(CompressOptions(kind, picture=chosen.picture), None))
            cells.append(f"{len(content):,}, {facts['psnr']} dB")
        print(f"| {path.stem} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
