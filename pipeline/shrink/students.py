"""The networks with knobs, written as a short text: family, widths, blocks.

fast-neural-style:8,16,32x5        widths of conv1, conv2, conv3, and 5 residual blocks
fast-neural-style-skips:9x3        one number: all three widths; three long skips that cost no weights
fast-neural-style:8,16,32x5k7      kernels of 7x7 instead of 9x9 in the first and the last convolution
fast-neural-style:8,16,32x3r6      convolutions factored into a vertical and a horizontal one, 6 channels between
fritz:0.25   fritz:0.3,small       Fritz's alpha, and his small network (all widths alike, 3 blocks)
fritz:8,16,32x5                    Fritz's network by its widths
few-shot:8,16,32,32,32,16x4        the six filters of GeneratorJ, and its residual blocks
few-shot:8,16,32x4                 three of them; the others follow as in its published configurations
"""

from __future__ import annotations

import difflib
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.architectures import STATISTICS, build, family_of, fast_neural_style, few_shot, fritz, names
from pipeline.architectures.base import Parameters, Shapes
from pipeline.contract import ImageContract
from pipeline.sources.tensors import ARCHITECTURE
from pipeline.support.errors import PipelineError
from pipeline.support.files import write_file

if TYPE_CHECKING:
    from torch import nn

MAX_WIDTH, MAX_BLOCKS = 1024, 64
SMALL_BLOCKS = 3
"""Residual blocks of Fritz's small network (fritz-style-transfer:style_transfer/models.py)."""
LAST_LAYER_SCALE = 64.0
"""What a fresh network's last convolution is multiplied by where it has to give grey levels by itself."""
EXAMPLES = (
    "fast-neural-style:8,16,32x5, fast-neural-style:8,16,32x3r6, fast-neural-style-skips:9x3, fritz:0.25, "
    "fritz:0.3,small, few-shot:8,16,32x4"
)

_WITH_KNOBS = ("fast-neural-style", "fritz", "few-shot")
"""How the names of `families` begin."""
_RES = re.compile(r"^res(\d+)\.")
_WIDTHS = re.compile(
    r"(?P<widths>\d{1,6}(?:,\d{1,6})*)x(?P<blocks>\d{1,6})(?:k(?P<kernel>\d{1,6}))?(?:r(?P<rank>\d{1,6}))?"
)
_ALPHA = re.compile(r"(?P<alpha>\d*\.?\d+)(?P<small>,small)?")


@dataclass(frozen=True)
class Student:
    """A network of a known architecture that is still to be trained."""

    spec: str
    architecture: str
    params: Parameters = field(hash=False)

    @property
    def shapes(self) -> Shapes:
        """Its tensors, by name."""
        return family_of(self.architecture).shapes(self.params)

    @property
    def weights(self) -> int:
        """Trained values; running statistics of batch norm are not counted."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if not STATISTICS.search(name))

    @property
    def ranks(self) -> dict[str, int]:
        """The channels between the two parts of each factored convolution, by its name."""
        ranks: dict[str, int] = self.params.get("ranks", {})
        return ranks

    @property
    def contract(self) -> ImageContract:
        return family_of(self.architecture).contract(self.params)

    def build(self, seed: int = 0) -> nn.Module:
        """The torch module with random weights that follow only from `seed`, in eval mode.

        A network that gives 0..255 from a bare convolution starts at middle grey, with weights in grey levels.
        Raises MissingDependency without torch.
        """
        from pipeline.shrink import require_torch

        require_torch(f"building {self.spec}")
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build(self.architecture, self.params)
        if self.architecture.startswith("fast-neural-style"):
            last = module.get_submodule("deconv3.horizontal" if "deconv3" in self.ranks else "deconv3.conv2d")
            with torch.no_grad():
                last.weight.mul_(LAST_LAYER_SCALE)  # type: ignore[operator,union-attr]
                last.bias.fill_(127.5)  # type: ignore[operator,union-attr]
        return module


def families() -> list[str]:
    """The architectures whose widths and blocks can be chosen."""
    return [name for name in names() if name.startswith(_WITH_KNOBS)]


def parse(spec: str) -> Student:
    """The student that a text describes. Raises PipelineError `bad-student`."""
    name, colon, knobs = spec.strip().partition(":")
    if not colon:
        raise _bad(spec, f"it has no parameters; write {name or 'a family'}:PARAMETERS")
    if name not in (known := families()):
        near = difflib.get_close_matches(name, known, n=1)
        raise _bad(spec, f"{name!r} is not a family of students" + (f"; did you mean {near[0]}?" if near else ""))
    knobs = knobs.replace(" ", "")
    if match := _WIDTHS.fullmatch(knobs):
        widths = [int(text) for text in match["widths"].split(",")]
        params = _by_widths(spec, name, widths, int(match["blocks"]), match["kernel"], match["rank"])
    elif name == fritz.FRITZ.name and (match := _ALPHA.fullmatch(knobs)):
        params = _by_alpha(spec, float(match["alpha"]), bool(match["small"]))
    else:
        raise _bad(spec, f"{knobs!r} is not WIDTHSxBLOCKS" + (" or ALPHA[,small]" if name == "fritz" else ""))
    values: list[int] = [*(params.get("widths") or params.get("filters") or []), *(params.get("kernels") or [])]
    blocks: int = params.get("blocks") or params.get("resnet_blocks") or 0
    if not all(1 <= value <= MAX_WIDTH for value in values) or blocks > MAX_BLOCKS:
        raise _bad(spec, f"widths go from 1 to {MAX_WIDTH} and blocks from 0 to {MAX_BLOCKS}")
    return Student(spec.strip(), name, params)


def _by_widths(
    spec: str, name: str, widths: list[int], blocks: int, kernel: str | None, rank: str | None
) -> Parameters:
    if rank is not None and (not name.startswith("fast-neural-style") or int(rank) < 1):
        raise _bad(spec, "rN is the number of channels, at least 1, in factored convolutions of fast-neural-style")
    if kernel is not None and (not name.startswith("fast-neural-style") or int(kernel) % 2 == 0):
        raise _bad(
            spec,
            "kN sets the kernel size of the first and last convolution of fast-neural-style, which must be odd",
        )
    if few_shot.FAMILY is family_of(name):
        filters = _filters(spec, widths)
        norm = name == few_shot.BATCH_NORM.name
        return {
            "filters": filters,
            "resnet_blocks": blocks,
            "input_channels": 3,
            "use_bias": True,
            "tanh": True,
            "append_smoothers": True,
            "batch_norm": norm,
        }
    widths = widths * 3 if len(widths) == 1 else widths
    if len(widths) != 3:
        raise _bad(spec, f"{name} has three widths (or one for all three), not {len(widths)}")
    params: Parameters = {"widths": widths, "blocks": blocks}
    if kernel is not None and kernel != "9":
        params["kernels"] = [int(kernel), 3]
    if rank is not None:
        params["ranks"] = _ranks(params, int(rank))
        if not params["ranks"]:
            raise _bad(spec, f"no convolution has fewer weights when it is factored to {rank} channels")
    return params


def _ranks(params: Parameters, rank: int) -> dict[str, int]:
    """The rank of each convolution of stride 1 that has fewer weights when it is factored to this rank.

    The parts of one with stride 2 would have unequal strides, which Barracuda computes at twice the cost.
    """
    return {
        conv: rank
        for conv, _, inputs, outputs, kernel in fast_neural_style.layers(params)
        if conv not in ("conv2", "conv3") and rank * (inputs + outputs) < inputs * outputs * kernel
    }


def _filters(spec: str, widths: list[int]) -> list[int]:
    """GeneratorJ's six: [a, b, c] becomes [a, b, c, c, c, b], as in reference_P.yaml and reference_F.yaml."""
    if len(widths) == 1:
        widths = widths * 3
    if len(widths) == 3:
        a, b, c = widths
        return [a, b, c, c, c, b]
    if len(widths) != 6:
        raise _bad(spec, f"GeneratorJ has six filters (or three, or one), not {len(widths)}")
    if widths[3] != widths[2]:
        raise _bad(spec, "the fourth filter of GeneratorJ must equal the third, because the two are concatenated")
    return widths


def _by_alpha(spec: str, alpha: float, small: bool) -> Parameters:
    """int() truncates, as in fritz-style-transfer: 0.3 * 32 is 9."""
    base = int(alpha * 32)
    if small:
        return {"widths": [base] * 3, "blocks": SMALL_BLOCKS}
    if base < 1 or base > MAX_WIDTH:
        raise _bad(spec, f"alpha {alpha:g} gives a first width of {base}")
    return {"widths": [base, int(alpha * 64), int(alpha * 128)], "blocks": 5}


def spec_of(architecture: str, params: Parameters) -> str:
    """The text that `parse` turns into these parameters; other knobs than those of students are left out."""
    widths = ",".join(map(str, params.get("widths") or params.get("filters") or []))
    blocks = params.get("blocks", params.get("resnet_blocks", 0))
    outer = params.get("kernels", (9, 3))[0]
    text = f"{architecture}:{widths}x{blocks}" + (f"k{outer}" if outer != 9 else "")
    rank = max(params.get("ranks", {}).values(), default=0)
    return f"{text}r{rank}" if rank and params["ranks"] == _ranks(params, rank) else text


SELF_EVIDENT = ("fast-neural-style", "fritz", "few-shot")
"""Architectures that a state dict's names and shapes tell by themselves."""


def save(module: nn.Module, architecture: str, path: Path) -> None:
    """Write a network's weights as a state dict that every command reads, in one rename; moved to the CPU.

    Where several networks have the same tensors, the checkpoint says which one it is: {"architecture": ...,
    "state_dict": ...}. Raises what `write_file` raises.
    """
    import torch

    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if architecture.startswith("fast-neural-style-"):  # the layout of names that these networks are known by
        tensors = {_RES.sub(lambda m: f"resnets.{int(m[1]) - 1}.", name): v for name, v in tensors.items()}
    content: dict[str, Any] = dict(tensors)
    if architecture not in SELF_EVIDENT:
        content = {ARCHITECTURE: architecture, "state_dict": tensors}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_file(path, buffer.getvalue())


def _bad(spec: str, reason: str) -> PipelineError:
    return PipelineError(
        "bad-student",
        f"{spec!r} does not describe a network: {reason}",
        subject="--student",
        remedy=f"Examples: {EXAMPLES}. Families: {', '.join(families())}.",
    )
