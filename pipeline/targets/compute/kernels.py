"""Writes the `.compute` file of a plan: one `#pragma kernel` line for each variant that the plan uses."""

from __future__ import annotations

from pathlib import Path

from pipeline.targets.compute.plan import Dispatch, Plan

INCLUDES = "Engines/Compute/Kernels"
"""Folder of the HLSL files, in the templates and in a bundle's StyleTransfer folder."""

_PADDINGS = {1: "Reflect", 2: "Edge"}
_COMBINES = {1: "Sum", 2: "Difference", 3: "Product", 4: "Quotient"}
_ACTS = (
    "",
    "Relu",
    "Leaky",
    "Clip",
    "Tanh",
    "Sigmoid",
    "HardSwish",
    "Silu",
    "Gelu",
    "Elu",
    "Prelu",
    "HardSigmoid",
    "GeluTanh",
    "Softplus",
    "Abs",
    "Mish",
    "Sqrt",
    "Exp",
    "Square",
    "Erf",
)
_UNNAMED = {"KERNEL_X", "KERNEL_Y", "STRIDE_X", "STRIDE_Y", "DILATION_X", "DILATION_Y", "THREADS_X", "THREADS_Y"}
_FLAGS = {"STATISTICS", "KEEP", "PHASED", "HALF", "CENTRED"}
"""Macros that appear in a kernel's name without a number if they are 1."""
_NAMED_AT_ZERO = {"STORE": "NotStored", "SHARE": "Direct"}
"""Macros that appear in a kernel's name if they are 0, and as what."""


def macros(dispatch: Dispatch, half: bool) -> dict[str, int]:
    """The macros that the kernel of a dispatch is compiled with, sorted by name."""
    merged = dict(dispatch.macros)
    if half:
        merged["HALF"] = 1
    return dict(sorted(merged.items()))


def kernel_name(dispatch: Dispatch, half: bool) -> str:
    """A readable, unique name of a kernel variant: Conv3x3_NormA1_ReluA_Reflect_Statistics_..."""
    defines = macros(dispatch, half)
    words = [dispatch.kernel]
    if "KERNEL_X" in defines:
        words[0] += f"{defines['KERNEL_X']}x{defines['KERNEL_Y']}"
        if (defines["STRIDE_X"], defines["STRIDE_Y"]) != (1, 1):
            words.append(
                f"Stride{defines['STRIDE_X']}"
                + ("" if defines["STRIDE_X"] == defines["STRIDE_Y"] else str(defines["STRIDE_Y"]))
            )
        if "DILATION_X" in defines and (defines["DILATION_X"], defines["DILATION_Y"]) != (1, 1):
            words.append(f"Dilation{defines['DILATION_X']}{defines['DILATION_Y']}")
    for name, number in defines.items():
        if name in _UNNAMED or (not number and name not in _NAMED_AT_ZERO):
            continue
        words.append(_word(name, number))
    if "THREADS_X" in defines:
        words.append(f"{defines['THREADS_X']}x{defines['THREADS_Y']}")
    return "_".join(word for word in words if word)


def _word(name: str, number: int) -> str:
    parts = "".join(part.capitalize() for part in name.split("_"))
    if name.startswith("ACT_"):
        return _ACTS[number] + parts.removeprefix("Activation")
    if name == "PADDING":
        return _PADDINGS[number]
    if name == "COMBINE":
        return _COMBINES[number]
    if name in _NAMED_AT_ZERO:
        return "" if number else _NAMED_AT_ZERO[name]
    return parts if number == 1 and name in _FLAGS else f"{parts}{number}"


def variants(plan: Plan) -> dict[str, Dispatch]:
    """For each kernel variant of the plan, by name in sorted order, the first dispatch that uses it."""
    by_name: dict[str, Dispatch] = {}
    for dispatch in plan.dispatches:
        name = kernel_name(dispatch, plan.half)
        other = by_name.setdefault(name, dispatch)
        if macros(other, plan.half) != macros(dispatch, plan.half) or other.kernel != dispatch.kernel:
            raise AssertionError(f"two kernels are called {name}")
    return dict(sorted(by_name.items()))


def compute_file(plan: Plan, includes: str = f"../{INCLUDES}") -> str:
    """The text of the `.compute` file; `includes` is the relative path from it to the HLSL files."""
    by_name = variants(plan)
    lines = [
        "// Generated: the kernels of a compiled network. The sizes of pictures are constants of each dispatch.",
        "",
    ]
    files: dict[str, None] = {}
    for name, dispatch in by_name.items():
        files[dispatch.kernel] = None
        defines = " ".join(f"{macro}={number}" for macro, number in macros(dispatch, plan.half).items())
        lines.append(f"#pragma kernel {name} ENTRY={name} {_file_macro(dispatch.kernel)}=1 {defines}".rstrip())
    lines.append("")
    for place, file in enumerate(sorted(files)):
        lines.append(f"#{'el' if place else ''}if defined({_file_macro(file)})")
        lines.append(f'#include "{includes}/{file}.hlsl"')
    lines += ["#endif", ""]
    return "\n".join(lines)


def _file_macro(kernel: str) -> str:
    """The macro that selects a kernel's include; the kernels themselves must not use it."""
    return f"FILE_{kernel.upper()}"


def folder() -> Path:
    """The folder of the HLSL files in this installation."""
    from pipeline.support.resources import resource

    return resource("unity_templates") / INCLUDES
