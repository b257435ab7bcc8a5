"""Runs architectures x quantisers x targets, and tells how near each is to the float network.

    python benchmarks/quantisers.py [--only WORD ...] [--write]

The quantisers: ONNX Runtime's quantize_dynamic and quantize_static (QDQ and QOperator, per tensor or channel,
int8 and uint8, asymmetric and symmetric), and PyTorch's FX and quantisation-aware training, exported as
Quantize/Dequantize pairs. Each file is read and lowered as `convert` does it. A combination is *right* when
nothing is left to find, the emulation of the target is within 1e-4 of the range of the same network without its
rounding of activations, and that is as near to the float original as the quantised run is. Exit code 1 unless all
are.
--write makes docs/quantised.md.
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks.architectures import ARCHITECTURES, network
from benchmarks.exporters import GROUPS, SIZES, TOLERANCE, expected, legacy, lowered

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quantised.md"


@dataclass(frozen=True)
class Outcome:
    """ "" or what is wrong, and the distance from the float original in dB: of the quantised run, and of ours."""

    problem: str
    quantised: float = 0.0
    lowered: float = 0.0


class _Pictures:
    """Calibration: pictures of both sizes."""

    def __init__(self) -> None:
        self.left = [{"x": picture} for picture in _calibration()]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def _calibration() -> list[np.ndarray]:
    return [np.random.default_rng(seed).random((1, 3, *SIZES[0]), np.float32) for seed in range(2)]


def _static(name: str, **options: object) -> onnx.ModelProto:
    from onnxruntime.quantization import quantize_static

    return _by_runtime(name, lambda source, item: quantize_static(source, item, _Pictures(), **options))


def _dynamic(name: str, **options: object) -> onnx.ModelProto:
    from onnxruntime.quantization import quantize_dynamic

    return _by_runtime(name, lambda source, item: quantize_dynamic(source, item, **options))


def _by_runtime(name: str, quantise: Callable[[str, str], None]) -> onnx.ModelProto:
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, result = f"{folder}/float.onnx", f"{folder}/quantised.onnx"
            onnx.save(legacy(name, 13), source)
            quantise(source, result)
            return onnx.load(result)
    finally:
        logging.disable(logging.NOTSET)


def _by_torch(name: str, opset: int, training: bool = False, eager: bool = False) -> onnx.ModelProto | None:
    """PyTorch's quantisers through its TorchScript exporter; None where they cannot take the network.

    In graph mode (FX) converted to quantised operators; with `training` left as the fake quantisation of
    quantisation-aware training, which is exported as pairs too; `eager` for networks of only modules.
    """
    from torch.ao import quantization
    from torch.ao.quantization import quantize_fx

    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    picture = torch.from_numpy(_calibration()[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            float_network = copy.deepcopy(network(name))
            if eager:
                module = quantization.QuantWrapper(float_network).eval()
                module.qconfig = quantization.get_default_qconfig("qnnpack")
                module = quantization.prepare(module)
            else:
                # uint8 activations and int8 weights: ONNX's fake quantisation knows no 7 bit ranges.
                mapping = quantization.get_default_qconfig_mapping("qnnpack")
                if training:
                    config = quantization.QConfig(
                        activation=quantization.FakeQuantize.with_args(
                            observer=quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255
                        ),
                        weight=quantization.default_per_channel_weight_fake_quant,
                    )
                    mapping = quantization.QConfigMapping().set_global(config)
                prepare = quantize_fx.prepare_qat_fx if training else quantize_fx.prepare_fx
                module = prepare(float_network.train(training), mapping, (picture,)).eval()
            with torch.no_grad():
                module(picture)
            if training:
                module.apply(quantization.disable_observer)
            elif eager:
                module = quantization.convert(module)
            else:
                module = quantize_fx.convert_fx(module)
            return _exported(module, picture, opset)
    except Exception as error:
        known = (RuntimeError, NotImplementedError, torch.onnx.errors.OnnxExporterError)
        reported = ("not yet supported in QAT", "Occurred when translating")
        if isinstance(error, known) or any(words in str(error) for words in reported):
            return None  # quantised operators that torch does not have or cannot export
        raise
    finally:
        torch.backends.quantized.engine = engine


def _exported(module: torch.nn.Module, picture: torch.Tensor, opset: int) -> onnx.ModelProto:
    from pipeline.build.export import silence

    written = io.BytesIO()
    with silence():
        torch.onnx.export(
            module,
            (picture,),
            written,
            opset_version=opset,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
        )
    return onnx.load_from_string(written.getvalue())


TARGETS = tuple(target for group in GROUPS.values() for target in group)
"""Where a quantised network becomes a float one; of each the numbers are the same within rounding."""


def _quantisers() -> dict[str, Callable[[str], onnx.ModelProto | None]]:
    from onnxruntime.quantization import QuantFormat, QuantType

    qdq, operators = QuantFormat.QDQ, QuantFormat.QOperator
    u8, s8 = QuantType.QUInt8, QuantType.QInt8
    symmetric = {"ActivationSymmetric": True}
    static = {
        "ONNX Runtime QDQ, int8": {"quant_format": qdq, "activation_type": s8, "weight_type": s8},
        "ONNX Runtime QDQ, uint8, per channel": {
            **{"quant_format": qdq, "activation_type": u8, "weight_type": u8, "per_channel": True}
        },
        "ONNX Runtime QDQ, symmetric, per channel": {
            **{"quant_format": qdq, "activation_type": s8, "weight_type": s8, "per_channel": True},
            "extra_options": symmetric,
        },
        "ONNX Runtime QOperator, uint8": {"quant_format": operators, "activation_type": u8, "weight_type": u8},
        "ONNX Runtime QOperator, int8 weights, per channel": {
            **{"quant_format": operators, "activation_type": u8, "weight_type": s8, "per_channel": True}
        },
    }
    return {
        "ONNX Runtime dynamic, uint8": lambda name: _dynamic(name, weight_type=u8),
        "ONNX Runtime dynamic, int8, per channel": lambda name: _dynamic(name, weight_type=s8, per_channel=True),
        **{label: lambda name, item=item: _static(name, **item) for label, item in static.items()},
        "PyTorch eager, opset 13": lambda name: _by_torch(name, 13, eager=True),
        "PyTorch FX, opset 13": lambda name: _by_torch(name, 13),
        "PyTorch FX, opset 17": lambda name: _by_torch(name, 17),
        "PyTorch QAT, opset 13": lambda name: _by_torch(name, 13, training=True),
        "PyTorch QAT, opset 17": lambda name: _by_torch(name, 17, training=True),
    }


QUANTISERS = _quantisers()


@cache
def quantised(name: str, quantiser: str) -> onnx.ModelProto | None:
    return QUANTISERS[quantiser](name)


def judge(name: str, quantiser: str, target_name: str) -> Outcome | None:
    """One combination; None where the quantiser cannot take the architecture."""
    from pipeline import targets
    from pipeline.graph import from_model, to_model
    from pipeline.graph.runtime import free_size, run, session
    from pipeline.quantisation.rewrite import undo
    from pipeline.validation import validate
    from pipeline.verify.proof import as_target_computes

    model = quantised(name, quantiser)
    if model is None:
        return None
    target = targets.get(target_name)
    graph, refusals = lowered(model, target_name)
    result = target.family.read(target.family.write(graph, target))
    left = [found for found in validate(result, target) if found.severity in ("error", "wrong", "warning")]
    if refusals or left:
        first = (refusals or left)[0]
        return Outcome(f"{first.code} {first.operator} {first.node}: {first.reason}")
    behind = from_model(model)
    undo(behind)
    unrounded = session(free_size(to_model(behind)))
    computed = as_target_computes(result, target)
    for picture, _ in expected(name):
        expected_value, got = run(unrounded, picture), computed(picture)
        off = float(np.abs(got - expected_value).max() / np.ptp(expected_value))
        if off > TOLERANCE:
            return Outcome(f"off by {off:.2g} of the range of the float network behind")
    picture, exact = expected(name)[0]
    before = decibels(run(session(free_size(model)), picture), exact)
    after = decibels(computed(picture), exact)
    problem = "" if after >= before - 0.5 else "further from the float original than the quantised run"
    return Outcome(problem, before, after)


def decibels(made: np.ndarray, exact: np.ndarray) -> float:
    """The peak of the exact picture's range over the mean square error."""
    error = float(np.mean((made.astype(np.float64) - exact) ** 2))
    return float(10 * np.log10(float(np.ptp(exact)) ** 2 / max(error, 1e-12)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="rows that hold one of these words")
    parser.add_argument("--write", action="store_true", help="write docs/quantised.md")
    chosen = parser.parse_args()
    outcomes: dict[tuple[str, str], Outcome | None] = {}
    bad = 0
    for name in ARCHITECTURES:
        for quantiser in QUANTISERS:
            if chosen.only and not any(word in f"{name} {quantiser}" for word in chosen.only):
                continue
            for target in TARGETS:
                try:
                    outcome = judge(name, quantiser, target)
                except Exception as error:  # a crash of any kind is one failed combination of many
                    outcome = Outcome(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                if outcome and outcome.problem:
                    bad += 1
                    print(f"{name} | {quantiser} | {target}: {outcome.problem}", flush=True)
            outcomes[name, quantiser] = outcome
    run = sum(outcome is not None for outcome in outcomes.values())
    print(f"{run} quantised networks for {len(TARGETS)} targets, {bad} not right")
    if chosen.write and not chosen.only:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return 1 if bad else 0


def page(outcomes: dict[tuple[str, str], Outcome | None]) -> str:
    """docs/quantised.md: dB from the float original, of the quantised run and of what was built."""
    lines = [
        "# Quantised networks",
        "",
        "<!-- Made by `python benchmarks/quantisers.py --write`. -->",
        "",
        f"Built for {', '.join(TARGETS)}. The targets compute only in float32, so a quantised network is built as "
        "the float network that its integers represent. Quantisation therefore makes the file smaller but not "
        "faster; what the quantised network loses by rounding activations is regained. Each cell is the PSNR in "
        "dB relative to the float original: the quantised file run by ONNX Runtime -> the built graph. `-`: the "
        "quantiser or its exporter does not support the network. These are small networks with random weights; "
        "real networks differ more from their originals.",
        "",
        "| quantiser | " + " | ".join(ARCHITECTURES) + " |",
        "|---|" + "---|" * len(ARCHITECTURES),
    ]
    for quantiser in QUANTISERS:
        cells = []
        for name in ARCHITECTURES:
            outcome = outcomes[name, quantiser]
            reported = "-" if outcome is None else f"{outcome.quantised:.0f} -> {outcome.lowered:.0f}"
            cells.append(outcome.problem if outcome and outcome.problem else reported)
        lines.append(f"| {quantiser} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
