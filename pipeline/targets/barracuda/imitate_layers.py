"""How targets compute convolutions, pools, padding and resizing: one function per difference from ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.graph import nodes as n
from pipeline.graph.forms import pads_of, scales_of
from pipeline.targets.barracuda import pieces
from pipeline.targets.barracuda.register import emulation
from pipeline.verify.scene import Scene, copy

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


_LINEAR = ("linear", "bilinear")


# ------------------------------------------------------------------------------------------------ constants
@emulation("optional-inputs-dropped")
def _dropped(scene: Scene) -> None:
    """Inputs that are not constant at import become their defaults (ONNXNodeWrapper.cs:84@3.0.0)."""
    for node, rule in list(scene.hits("optional-input-dropped")):
        index, default = rule.options["input"], rule.options["default"]
        tensor = n.given(node, index)
        if tensor is None or (scene.constant(tensor) and "max_rank" not in rule.options):
            continue
        if default in ("zeros", "ones") and node.op in ("InstanceNormalization", "BatchNormalization"):
            sizes = [scene.shapes.static(n.given(node, other)) for other in range(1, len(node.inputs))]
            count = next((size[0] for size in sizes if size), None)
            if count is None:
                continue
            make = n.Builder(scene.graph, node, pieces.STEM)
            node.inputs[index] = make.const(np.full(count, float(default == "ones")), "default")
        elif node.op == "OneHot":
            node.inputs[index] = n.Builder(scene.graph, node, pieces.STEM).const([0, 1], "default")
        else:
            pieces.leave_out(node, index)


@emulation("gemm-bias-lost")
def _gemm_bias(scene: Scene) -> None:
    for node, _ in list(scene.hits("gemm-bias-lost")):
        pieces.leave_out(node, 2)


@emulation("gemm-scales-ignored")
def _gemm_scales(scene: Scene) -> None:
    for node in scene.of("Gemm"):
        node.attrs.pop("alpha", None)
        node.attrs.pop("beta", None)


@emulation("gemm-transpose-a-ignored")
def _gemm_transpose(scene: Scene) -> None:
    for node in scene.of("Gemm"):
        node.attrs.pop("transA", None)


# ------------------------------------------------------------------------------------------------ fusing
@emulation("shift-folded-into-padded-conv")
def _shift(scene: Scene) -> None:
    """Add(scalar), Conv with pads: the shift goes into the bias as if nothing were padded."""
    for node, _ in list(scene.hits("shift-before-padded-conv")):
        value, data = _operand(scene, node)
        conv = n.only_consumer(scene.graph, node.outputs[0])
        if value is None or data is None or conv is None:
            continue
        weight = n.value(n.given(conv, 1))
        if weight is None:
            continue
        _add_bias(scene, conv, float(value.reshape(-1)[0]) * weight.sum(axis=(1, 2, 3)), weight.shape[0])
        conv.inputs[0] = data


@emulation("width-constant-misfused")
def _width(scene: Scene) -> None:
    """A constant along the width beside a Conv with as many outputs is taken per channel (measured at W = K).

    Before a Conv it is taken to scale, or to shift, what the convolution gives per output channel.
    """
    for node, _ in list(scene.hits("constant-along-width")):
        value, data = _operand(scene, node)
        if value is None or data is None:
            continue
        maker = n.producer(data)
        weight = n.value(n.given(maker, 1)) if maker is not None and maker.op == "Conv" else None
        if weight is not None and weight.shape[0] == value.size:
            make = n.Builder(scene.graph, node, pieces.STEM)
            constant = make.const(value.reshape(1, -1, 1, 1), "per_channel")
            node.inputs = [data, constant]
            continue
        conv = n.only_consumer(scene.graph, node.outputs[0])
        weight = n.value(n.given(conv, 1)) if conv is not None else None
        if conv is None or weight is None:
            continue
        flat = value.reshape(-1)
        if node.op == "Mul":
            make = n.Builder(scene.graph, conv, pieces.STEM)
            conv.inputs[1] = make.const(weight * flat.reshape(-1, 1, 1, 1), "weight")
        else:
            _add_bias(scene, conv, flat * weight.sum(axis=(1, 2, 3)), weight.shape[0])
        conv.inputs[0] = data


def _operand(scene: Scene, node: gs.Node) -> tuple[np.ndarray | None, gs.Tensor | None]:
    """(values of the constant operand, the other operand)."""
    for place, tensor in enumerate(node.inputs):
        value = scene.shapes.value(tensor)
        if value is not None:
            return value, node.inputs[1 - place]
    return None, None


def _add_bias(scene: Scene, conv: gs.Node, shift: np.ndarray, count: int) -> None:
    old = n.value(n.given(conv, 2))
    bias = (np.zeros(count) if old is None else old) + shift
    conv.inputs = [*conv.inputs[:2], n.Builder(scene.graph, conv, pieces.STEM).const(bias, "bias")]


# ------------------------------------------------------------------------------------------------ convolution
@emulation("same-pads-from-width")
def _same_pads(scene: Scene) -> None:
    """auto_pad SAME_*: the remainder by the stride is that of the width (TensorExtensions.cs:684@3.0.0)."""
    for node in scene.of("Conv", "MaxPool", "AveragePool"):
        mode, shape = n.text(node, "auto_pad"), scene.shapes.of(node.inputs[0])
        kernel = n.ints(node, "kernel_shape") or (scene.shapes.static(n.given(node, 1)) or ())[2:]
        if not mode.startswith("SAME") or shape is None or len(shape) != 4 or shape[3] is None or len(kernel) != 2:
            continue
        totals = []
        for size, stride in zip(kernel, n.ints(node, "strides", (1, 1)), strict=True):
            rest = shape[3] % stride
            totals.append(max(0, size - (stride if rest == 0 else rest)))
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        node.attrs.pop("auto_pad")
        node.attrs["pads"] = [*small, *large] if mode == "SAME_UPPER" else [*large, *small]


@emulation("height-width-swapped")
def _swapped(scene: Scene) -> None:
    """Strides, windows and output_padding are given as [H,W], read as [W,H] (ONNXNodeWrapper.cs:110@3.0.0)."""
    swapped = {
        "Conv": ("strides",),
        "ConvTranspose": ("strides", "output_padding"),
        "MaxPool": ("strides", "kernel_shape"),
        "AveragePool": ("strides", "kernel_shape"),
    }
    for node in scene.of(*swapped):
        for name in swapped[node.op]:
            pair = n.ints(node, name)
            if pair is not None and len(pair) == 2:
                node.attrs[name] = list(pair[::-1])
        strides = n.ints(node, "strides", (1, 1))
        if node.op == "ConvTranspose" and len(strides) == 2 and strides[0] != strides[1]:
            _rows_by_width(scene, node)


def _rows_by_width(scene: Scene, node: gs.Node) -> None:
    """A transposed convolution whose strides differ tests its rows by the stride of the columns.

    Row t of the stuffed map is row t / (stride of rows), cut towards zero, where t divides by the stride of the
    columns (BarracudaReferenceCPU.cs:1027@3.0.0). The strides of the node are [rows, columns] here.
    """
    shape, weight = scene.shapes.of(node.inputs[0]), scene.shapes.static(n.given(node, 1))
    pads, extra = n.ints(node, "pads", (0, 0, 0, 0)), n.ints(node, "output_padding", (0, 0))
    rows, columns = n.ints(node, "strides", (1, 1))
    if shape is None or weight is None or len(shape) != 4 or shape[2] is None or "auto_pad" in node.attrs:
        return
    kernel = weight[2]
    height = (shape[2] - 1) * rows - pads[0] - pads[2] + kernel + extra[0]
    n.room(height + kernel, item=8)
    position = np.arange(height + kernel - 1) - (kernel - pads[0] - 1)
    source = np.fix(position / rows).astype(np.int64)
    read = (np.fmod(position, columns) == 0) & (source >= 0) & (source < shape[2])
    make = n.Builder(scene.graph, node, pieces.STEM)
    index = make.const(np.clip(source, 0, shape[2] - 1), "rows", np.int64)
    gathered = make.op("Gather", node.inputs[0], index, axis=2)
    node.inputs[0] = make.op("Mul", gathered, make.const(read.astype(np.float32).reshape(1, 1, -1, 1), "read"))
    node.attrs.update(
        strides=[1, columns], pads=[kernel - 1, pads[1], kernel - 1, pads[3]], output_padding=[0, extra[1]]
    )


@emulation("transposed-attributes-ignored")
def _transposed(scene: Scene) -> None:
    for node in scene.of("ConvTranspose"):
        for name in ("group", "dilations", "output_shape"):
            node.attrs.pop(name, None)


# ------------------------------------------------------------------------------------------------ pools
@emulation("pool-ceil-ignored")
def _ceil(scene: Scene) -> None:
    for node in scene.of("MaxPool", "AveragePool"):
        node.attrs.pop("ceil_mode", None)


@emulation("pool-dilations-ignored")
def _pool_dilations(scene: Scene) -> None:
    for node in scene.of("MaxPool", "AveragePool"):
        node.attrs.pop("dilations", None)


@emulation("average-divides-by-inside")
def _inside(scene: Scene) -> None:
    """The divisor is the number of samples inside the map (Pool.cginc:72@3.0.0)."""
    for node in scene.of("AveragePool"):
        node.attrs["count_include_pad"] = 0


# ------------------------------------------------------------------------------------------------ padding
@emulation("pad-input-ignored")
def _pad_input(scene: Scene) -> None:
    """1.0.4 reads the pads attribute alone: without it nothing is padded (ONNXNodeWrapper.cs:325@1.0.4)."""
    for node in scene.of("Pad"):
        if "pads" not in node.attrs and len(node.inputs) > 1:
            copy(node)


@emulation("pad-crops-below")
def _pad_below(scene: Scene) -> None:
    """1.0.4 cuts rows off below that should go above (BarracudaUnsafeArrayCPU.cs:2003@1.0.4)."""
    for node, _ in list(scene.hits("pad-negative")):
        pads = list(n.ints(node, "pads", (0,) * 8))
        pads[2], pads[6] = 0, pads[6] + pads[2]
        node.attrs["pads"] = pads


@emulation("pad-value-input-lost")
def _pad_value(scene: Scene) -> None:
    for node in scene.of("Pad"):
        if "pads" not in node.attrs:
            pieces.leave_out(node, 2)


@emulation("pad-channels-dropped")
def _pad_channels(scene: Scene) -> None:
    _drop_pads(scene, 2)


@emulation("pad-batch-dropped")
def _pad_batch(scene: Scene) -> None:
    _drop_pads(scene, 1)


def _drop_pads(scene: Scene, axes: int) -> None:
    """Set the pads of the leading axes to zero."""
    for node in scene.of("Pad"):
        rank = scene.shapes.rank(node.inputs[0])
        if rank is None or rank <= axes + 1:
            continue
        pads = pads_of(node, rank, scene.shapes)
        if pads is None or not any(pads[axis] or pads[axis + rank] for axis in range(axes)):
            continue
        kept = [0 if index % rank < axes else pad for index, pad in enumerate(pads)]
        pieces.set_pads(scene.graph, node, kept)


@emulation("pad-single-reflection")
def _reflection(scene: Scene) -> None:
    """One reflection, then the edge is repeated (Pad.compute:91@3.0.0): written as Gathers where it matters."""
    for node in scene.of("Pad"):
        shape = scene.shapes.of(node.inputs[0])
        pads = None if shape is None else pads_of(node, len(shape), scene.shapes)
        if n.text(node, "mode", "constant") != "reflect" or shape is None or pads is None:
            continue
        rank = len(shape)
        padded = [axis for axis in range(rank) if pads[axis] or pads[axis + rank]]
        sizes = {axis: size for axis in padded if (size := shape[axis]) is not None}
        beyond_edge = any(max(pads[axis], pads[axis + rank]) >= size for axis, size in sizes.items())
        if not beyond_edge or len(sizes) != len(padded):
            continue
        make, tensor = n.Builder(scene.graph, node, pieces.STEM), node.inputs[0]
        for axis, size in sizes.items():
            n.room(size + pads[axis] + pads[axis + rank], item=8)
            source = np.arange(-pads[axis], size + pads[axis + rank])
            beyond = 2 * (size - 1) - source
            source = np.clip(np.where(source < 0, -source, np.where(source < size, source, beyond)), 0, size - 1)
            out = node.outputs[0] if axis == padded[-1] else None
            tensor = make.op("Gather", tensor, make.const(source, "place", np.int64), out=out, axis=axis)


# ------------------------------------------------------------------------------------------------ resizing
@emulation("resize-scales-below-one-averaged")
def _averaged(scene: Scene) -> None:
    """Linear scales below 1 become the mean over blocks of their inverse (ONNXModelConverter.cs:2562@3.0.0)."""
    for node in scene.of("Upsample", "Resize"):
        scales = scales_of(node, scene.shapes)
        if scales is None or len(scales) != 4 or n.given(node, 3) is not None or not (scales[2:] < 1).all():
            continue
        blocks = [round(1 / scale) for scale in scales[2:]]
        if n.text(node, "mode", "nearest") in _LINEAR:
            node.op, node.inputs = "AveragePool", node.inputs[:1]
            node.attrs = {"kernel_shape": blocks, "strides": blocks}


@emulation("resize-scales-rounded")
def _rounded(scene: Scene) -> None:
    """Scales are rounded to even (ONNXModelConverter.cs:2569@3.0.0); those that fold late are cut."""
    for node in scene.of("Upsample", "Resize"):
        scales = scales_of(node, scene.shapes)
        if scales is None or n.given(node, 3) is not None:
            continue
        scales_tensor = pieces.scales_input(node)
        early = scales_tensor is None or scene.constant(scales_tensor) or scene.view.target.constants is None
        used = np.round(scales) if early else np.floor(scales)
        used[:2] = 1
        if not used.all():
            continue
        pieces.set_scales(scene.graph, node, used)


@emulation("resize-cubic-as-nearest")
def _cubic(scene: Scene) -> None:
    for node in scene.of("Upsample", "Resize"):
        if n.text(node, "mode", "nearest") not in ("nearest", *_LINEAR):
            pieces.to_resize(scene.graph, node, scene.shapes)
            node.attrs["mode"] = "nearest"


@emulation("resize-linear-half-pixel")
def _half_pixel(scene: Scene) -> None:
    """Linear is always half-pixel with the edge repeated (Generic.compute:263@3.0.0)."""
    for node in scene.of("Upsample", "Resize"):
        if n.text(node, "mode", "nearest") in _LINEAR:
            pieces.to_resize(scene.graph, node, scene.shapes)
            node.attrs = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


@emulation("resize-nearest-floor")
def _floor(scene: Scene) -> None:
    """Nearest is always asymmetric and rounded down (BarracudaReferenceImpl.compute:1553@3.0.0)."""
    for node in scene.of("Upsample", "Resize"):
        if n.text(node, "mode", "nearest") == "nearest":
            pieces.to_resize(scene.graph, node, scene.shapes)
            node.attrs = {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }
