"""Computes a student's initial weights from its teacher's: channels selected, layers refitted, without gradients.

If the student's layers correspond to the teacher's (the same family and kernels, no larger width or number of
blocks), the residual blocks whose removal changes the output least are removed, channels are selected as for
pruning (pipeline.shrink.choosing), and each layer is refitted to the output of the teacher's layer
(pipeline.shrink.refit). Where the student has factored layers, these are then factored (pipeline.shrink.factor). A
student with long skips can start from a teacher without them: the layers after the skips are refitted to their
new inputs. Imports torch inside functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.architectures.fast_neural_style import WHOLE
from pipeline.shrink.choosing import choose
from pipeline.shrink.factor import as_network, factorable, factored
from pipeline.shrink.prunable import Prunable, prunable
from pipeline.shrink.refit import Values, observe, readers, refit

if TYPE_CHECKING:
    from torch import nn

    from pipeline.graph.channels import Unit
    from pipeline.network import Network
    from pipeline.shrink.students import Student

Progress = Callable[[str], None]
_FAMILY = "fast-neural-style"
_BLOCK = re.compile(r"^res(\d+)\.")


def corresponds(teacher: Network, student: Student) -> str:
    """The reason why the student's layers do not correspond to the teacher's, as a clause; "" if they do."""
    ours, theirs = student.params, teacher.details
    if teacher.module is None or not teacher.architecture.startswith(_FAMILY):
        return f"the teacher is not a {_FAMILY} network"
    if not student.architecture.startswith(_FAMILY):
        return f"the student is not a {_FAMILY} network"
    if theirs.get("ranks"):
        return "the teacher has factored layers"
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
    teacher: Network, student: Student, pictures: Sequence[np.ndarray], progress: Progress = lambda message: None
) -> nn.Module:
    """The student's torch module with weights computed from the teacher's, in eval mode.

    `pictures` are (1, C, H, W) in the teacher's own range; several are needed for reliable statistics. `teacher`
    and `student` must correspond (see `corresponds`).
    """
    from pipeline.shrink.overridable import overridable

    whole = prunable(teacher)
    run = overridable(whole.graph, set())
    originals = [run(picture, {}) for picture in pictures]
    blocks = list(range(1, teacher.details["blocks"] + 1))
    while len(blocks) > student.params["blocks"]:
        progress(f"choosing residual blocks: {len(blocks)} of {student.params['blocks']}")
        changes = []
        for block in blocks:
            fewer = overridable(
                _variant(teacher, teacher.architecture, [b for b in blocks if b != block]).graph, set()
            )
            changes.append(
                np.mean([np.mean((fewer(p, {}) - w) ** 2) for p, w in zip(pictures, originals, strict=True)])
            )
        del blocks[int(np.argmin(changes))]
    shallow = _variant(teacher, student.architecture, blocks)
    wide = replace(student, params={key: value for key, value in student.params.items() if key != "ranks"})
    units = _removed(shallow, wide, pictures, progress)
    values = refit(shallow, units, pictures, progress=progress, wanted=_aims(whole, shallow, blocks, pictures))
    narrowed = shallow.pruned(units, values)
    module = wide.build()
    assert narrowed.module is not None
    module.load_state_dict(narrowed.module.state_dict())
    if not student.ranks:
        return module.eval()
    narrow = prunable(replace(teacher, module=module.eval(), architecture=wide.architecture, details=wide.params))
    result = as_network(narrow, factored(narrow, ranks_of(narrow, student), pictures, progress=progress))
    assert result.module is not None
    return result.module.eval()


def ranks_of(network: Prunable, student: Student) -> dict[str, int]:
    """The ranks of a student's factored layers, by the names of the same layers' weights in a whole network's
    graph."""
    layers = {name: network.places[name][0].removesuffix(WHOLE) for name in factorable(network.graph)}
    return {name: student.ranks[layer] for name, layer in layers.items() if layer in student.ranks}


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


def _removed(
    shallow: Prunable, student: Student, pictures: Sequence[np.ndarray], progress: Progress
) -> list[Unit]:
    """The channels to remove for the student's widths."""
    orders, _ = choose(shallow, pictures, progress=progress)
    units = []
    for group, order in zip(shallow.groups, orders, strict=True):
        name, axis, _ = group.units[0].makes[0]
        key, axes = shallow.places[name]
        width = student.shapes[key][axes[axis]]
        units += [group.units[index] for index in order[: group.width - width]]
    return units


def _aims(
    whole: Prunable, shallow: Prunable, blocks: Sequence[int], pictures: Sequence[np.ndarray]
) -> list[Values]:
    """The outputs of the teacher's layers for each picture, by the names of the same layers' outputs in
    `shallow`."""
    theirs = {whole.places[reader.weights][0]: reader.output for reader in readers(whole.graph)}
    names = {}
    for reader in readers(shallow.graph):
        key = shallow.places[reader.weights][0]
        names[reader.output] = theirs[_BLOCK.sub(lambda match: f"res{blocks[int(match[1]) - 1]}.", key)]
    seen = observe(whole.graph, list(names.values()), pictures)
    return [{mine: held_values[other] for mine, other in names.items()} for held_values in seen]
