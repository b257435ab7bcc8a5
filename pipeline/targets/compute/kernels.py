"""The `.compute` file of a plan: one `#pragma kernel` line for each variant of a kernel that the plan needs."""

from __future__ import annotations

from pathlib import Path

from pipeline.targets.compute.plan import Dispatch, Plan

INCLUDES = "Engines/Compute/Kernels"
"""Where the kernels' files lie, in the templates and in a bundle's StyleTransfer folder."""

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
_QUIET = {"KERNEL_X", "KERNEL_Y", "STRIDE_X", "STRIDE_Y", "DILATION_X", "DILATION_Y", "THREADS_X", "THREADS_Y"}
_SAID = {"STATISTICS", "KEEP", "PHASED", "HALF", "CENTRED"}
"""Macros that a kernel's title gives by name only, where they are 1."""
_ABSENT = {"STORE": "NotStored", "SHARE": "Direct"}
"""Macros that a kernel's title gives where they are 0."""


def macros(dispatch: Dispatch, half: bool) -> dict[str, int]:
    """The macros that a dispatch's kernel is compiled with, sorted by name."""
    held = dict(dispatch.macros)
    if half:
        held["HALF"] = 1
    return dict(sorted(held.items()))


def kernel_name(dispatch: Dispatch, half: bool) -> str:
    """A readable name, the same for the same variant: Conv3x3_NormA1_ReluA_Reflect_Statistics_..."""
    held = macros(dispatch, half)
    words = [dispatch.kernel]
    if "KERNEL_X" in held:
        words[0] += f"{held['KERNEL_X']}x{held['KERNEL_Y']}"
        if (held["STRIDE_X"], held["STRIDE_Y"]) != (1, 1):
            words.append(
                f"Stride{held['STRIDE_X']}"
                + ("" if held["STRIDE_X"] == held["STRIDE_Y"] else str(held["STRIDE_Y"]))
            )
        if "DILATION_X" in held and (held["DILATION_X"], held["DILATION_Y"]) != (1, 1):
            words.append(f"Dilation{held['DILATION_X']}{held['DILATION_Y']}")
    for name, number in held.items():
        if name in _QUIET or (not number and name not in _ABSENT):
            continue
        words.append(_word(name, number))
    if "THREADS_X" in held:
        words.append(f"{held['THREADS_X']}x{held['THREADS_Y']}")
    return "_".join(word for word in words if word)


def _word(name: str, number: int) -> str:
    parts = "".join(part.capitalize() for part in name.split("_"))
    if name.startswith("ACT_"):
        return _ACTS[number] + parts.removeprefix("Act")
    if name == "PADDING":
        return _PADDINGS[number]
    if name == "COMBINE":
        return _COMBINES[number]
    if name in _ABSENT:
        return "" if number else _ABSENT[name]
    return (
        parts
        if number == 1 and name in ("STATISTICS", "KEEP", "PHASED", "HALF", "CENTRED")
        else f"{parts}{number}"
    )


def variants(plan: Plan) -> dict[str, Dispatch]:
    """Every kernel that the plan needs, by name: a dispatch that uses it. Sorted by name."""
    found: dict[str, Dispatch] = {}
    for dispatch in plan.dispatches:
        name = kernel_name(dispatch, plan.half)
        other = found.setdefault(name, dispatch)
        if macros(other, plan.half) != macros(dispatch, plan.half) or other.kernel != dispatch.kernel:
            raise AssertionError(f"two kernels are called {name}")
    return dict(sorted(found.items()))


def compute_file(plan: Plan, includes: str = f"../{INCLUDES}") -> str:
    """The text of the `.compute` file; `includes` is the way from it to the kernels' files."""
    found = variants(plan)
    lines = [
        "// Generated: the kernels of a compiled network. The sizes of pictures are constants of each dispatch.",
        "",
    ]
    files: dict[str, None] = {}
    for name, dispatch in found.items():
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
    """The macro that chooses a kernel's file; it must not be one that the kernels read."""
    return f"FILE_{kernel.upper()}"


def folder() -> Path:
    """Where the kernels' files are in this installation."""
    from pipeline.support.resources import resource

    return resource("unity_templates") / INCLUDES
