"""A student that begins as its teacher, narrower: channels chosen, layers refitted, before any gradient.

Where the student's layers correspond to the teacher's (the same family and kernels, no width or number of blocks
larger), its first weights come from the teacher: residual blocks whose removal changes the picture least are left
out, channels are chosen as for pruning (pipeline.shrink.choosing), and each layer is refitted to what the
teacher's layer gives (pipeline.shrink.refit). A student with long skips can begin as a teacher without them: the
layers behind the skips are refitted to what they now read. Imports torch inside functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.shrink.choosing import choose
from pipeline.shrink.prunable import Prunable, prunable
from pipeline.shrink.refit import Values, observe, readers, refit

if TYPE_CHECKING:
    from torch import nn

    from pipeline.graph.channels import Unit
    from pipeline.network import Network
    from pipeline.shrink.students import Student

Tell = Callable[[str], None]
_FAMILY = "fast-neural-style"
_BLOCK = re.compile(r"^res(\d+)\.")


def corresponds(teacher: Network, student: Student) -> str:
    """Why the student's layers do not correspond to the teacher's, as a clause; "" where they do."""
    ours, theirs = student.params, teacher.details
    if teacher.module is None or not teacher.architecture.startswith(_FAMILY):
        return f"the teacher is not a {_FAMILY} network"
    if not student.architecture.startswith(_FAMILY):
        return f"the student is not a {_FAMILY} network"
    for key, usual in (("kernels", [9, 3]), ("channels", [3, 3])):
        if list(ours.get(key, usual)) != list(theirs.get(key, usual)):
            return f"their {key} differ"
    if ours["blocks"] > theirs["blocks"]:
        return "the student has more residual blocks"
    narrower = zip(_widths(ours), _widths(theirs), strict=True)
    if any(mine > other for mine, other in narrower) or min(theirs.get("inner", [10**6])) < max(_inner(ours)):
        return "the student is wider in some layer"
    return ""


def _widths(params: dict[str, Any]) -> list[int]:
    a, b, c = params["widths"]
    return [a, b, c, *params.get("decoder", (b, a))]


def _inner(params: dict[str, Any]) -> list[int]:
    return list(params.get("inner", [params["widths"][2]] * params["blocks"])) or [1]


def from_teacher(
    teacher: Network, student: Student, pictures: Sequence[np.ndarray], tell: Tell = lambda told: None
) -> nn.Module:
    """The student's torch module with weights made from the teacher's, in eval mode.

    `pictures` are (1, C, H, W) in the teacher's own range; several of them give sound statistics. `teacher` and
    `student` must correspond (see `corresponds`).
    """
    from pipeline.shrink.overridable import overridable

    whole = prunable(teacher)
    run = overridable(whole.graph, set())
    wanted = [run(picture, {}) for picture in pictures]
    blocks = list(range(1, teacher.details["blocks"] + 1))
    while len(blocks) > student.params["blocks"]:
        tell(f"choosing residual blocks: {len(blocks)} of {student.params['blocks']}")
        changes = []
        for block in blocks:
            fewer = overridable(
                _variant(teacher, teacher.architecture, [b for b in blocks if b != block]).graph, set()
            )
            changes.append(
                np.mean([np.mean((fewer(p, {}) - w) ** 2) for p, w in zip(pictures, wanted, strict=True)])
            )
        del blocks[int(np.argmin(changes))]
    held = _variant(teacher, student.architecture, blocks)
    units = _removed(held, student, pictures, tell)
    values = refit(held, units, pictures, tell=tell, wanted=_aims(whole, held, blocks, pictures))
    made = held.pruned(units, values)
    module = student.build()
    assert made.module is not None
    module.load_state_dict(made.module.state_dict())
    return module.eval()


def _variant(teacher: Network, architecture: str, blocks: Sequence[int]) -> Prunable:
    """The teacher as another variant of its family, with only these residual blocks, renumbered."""
    from pipeline.architectures import build

    assert teacher.module is not None
    names = {old: new for new, old in enumerate(blocks, start=1)}
    tensors = {}
    for name, value in teacher.module.state_dict().items():
        match = _BLOCK.match(name)
        if match is None:
            tensors[name] = value
        elif int(match[1]) in names:
            tensors[f"res{names[int(match[1])]}.{name[match.end() :]}"] = value
    params = dict(teacher.details) | {"blocks": len(blocks)}
    if "inner" in params:
        params["inner"] = [params["inner"][block - 1] for block in blocks]
    module = build(architecture, params)
    module.load_state_dict(tensors)
    return prunable(replace(teacher, module=module.eval(), architecture=architecture, details=params))


def _removed(held: Prunable, student: Student, pictures: Sequence[np.ndarray], tell: Tell) -> list[Unit]:
    """The channels that must go for the student's widths."""
    orders, _ = choose(held, pictures, tell=tell)
    units = []
    for group, order in zip(held.groups, orders, strict=True):
        name, axis, _ = group.units[0].makes[0]
        key, axes = held.places[name]
        width = student.shapes[key][axes[axis]]
        units += [group.units[index] for index in order[: group.width - width]]
    return units


def _aims(whole: Prunable, held: Prunable, blocks: Sequence[int], pictures: Sequence[np.ndarray]) -> list[Values]:
    """What the teacher's layers give on each picture, by the names of the same layers' outputs in `held`."""
    theirs = {whole.places[reader.weights][0]: reader.output for reader in readers(whole.graph)}
    names = {}
    for reader in readers(held.graph):
        key = held.places[reader.weights][0]
        names[reader.output] = theirs[_BLOCK.sub(lambda match: f"res{blocks[int(match[1]) - 1]}.", key)]
    seen = observe(whole.graph, list(names.values()), pictures)
    return [{mine: held_values[other] for mine, other in names.items()} for held_values in seen]
