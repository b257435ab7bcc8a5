"""What a plan is: what was folded, who shares a buffer, and how it is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import targets
from pipeline.graph import to_model
from pipeline.graph.runtime import run, session
from pipeline.support.size import Size
from pipeline.targets.compute import described, emulation, execution
from pipeline.targets.compute.builder import KINDS
from pipeline.targets.compute.compiler import compile_graph
from pipeline.targets.compute.kernels import variants
from pipeline.targets.compute.plan import PICTURE
from tests.targets.compute.networks import NETWORKS, Net, made


def plan_of(name: str):
    return compile_graph(made(name)).plan


def test_a_style_network_is_a_convolution_and_a_merge_for_each_layer():
    """Pads, norms, activations, sums, upsampling and the contract are not dispatches."""
    plan = plan_of("style")
    kernels = [dispatch.kernel for dispatch in plan.dispatches]
    assert kernels == ["Conv", "Merge"] * 7 + ["Conv"]
    first, last = plan.dispatches[0], plan.dispatches[-1]
    assert first.macro("PICTURE") == 3 and first.macro("LANES") == 3 and first.macro("PADDING") == 1
    assert last.macro("PAINT") == 3 and last.macro("ACT_A") == 1 and last.macro("NORM_A") == 1
    assert sum(dispatch.macro("KEEP") for dispatch in plan.dispatches) == 1


def test_biases_in_front_of_a_norm_are_left_out():
    plan = plan_of("style")
    rows = {weight.offset: weight.data for weight in plan.weights}
    for dispatch in plan.dispatches:
        if dispatch.kernel == "Conv" and dispatch.macro("STATISTICS"):
            assert not rows[dispatch.int_constants["BIAS_AT"]].any()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_buffer_is_given_on_only_when_nobody_reads_it_any_more(name):
    plan = plan_of(name)
    written: dict[int, int] = {}
    for number, dispatch in enumerate(plan.dispatches):
        for value in (dispatch.first, dispatch.second):
            if value > PICTURE:
                root = plan.values[value].root
                assert written[plan.values[root].slot] == root, (number, dispatch.title)
        outputs = {plan.values[v].root for v in (dispatch.output, dispatch.kept) if v >= 0}
        for root in outputs:
            if plan.values[root].slot >= 0:
                written[plan.values[root].slot] = root
        reads = {plan.values[plan.values[v].root].slot for v in (dispatch.first, dispatch.second) if v > PICTURE}
        writes = {plan.values[root].slot for root in outputs if plan.values[root].slot >= 0}
        assert not reads & writes, f"{dispatch.title} reads and writes one buffer"


def test_fewer_buffers_than_values():
    plan = plan_of("style")
    assert plan.slots <= 4 < len(plan.values)


def test_an_upsampled_convolution_without_a_norm_works_on_the_small_picture():
    phased = [dispatch for dispatch in plan_of("sampled").dispatches if dispatch.macro("PHASED")]
    assert len(phased) == 1 and phased[0].macros["KERNEL_X"] == 2
    assert not any(dispatch.macro("PHASED") for dispatch in plan_of("style").dispatches)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_thread_groups_are_of_sizes_that_every_api_allows(name):
    for dispatch in plan_of(name).dispatches:
        m = dispatch.macros
        assert m.get("THREADS_X", 64) * m.get("THREADS_Y", 1) <= 128


def test_the_table_tells_every_dispatch_and_its_kernel():
    plan = plan_of("style")
    rows = described.table(plan)
    assert len(rows) == len(plan.dispatches) and {row["kernel"] for row in rows} == set(variants(plan))
    assert rows[0]["reads"] == ["picture"] and rows[-1]["writes"] == ["result"]
    assert rows[2]["does"].endswith("of norm relu reflect")


def test_a_whole_graph_of_thousands_of_nodes_is_refused_at_once():
    net = Net()
    x = net.image
    for _ in range(5000):
        x = net.op("Sigmoid", x)
    (refused,) = compile_graph(net.graph(x)).refused
    assert "operations" in refused.reason


def test_counts_are_those_of_the_plan():
    """A picture of whole tiles of 32 x 16 pixels issues what is useful, and another one more."""
    net = Net(size=(64, 64))
    x = net.conv(net.image, 3, 16, 1)
    x = net.conv(net.pad(x, 1), 16, 16, 3)
    plan = compile_graph(net.graph(net.conv(x, 16, 3, 1))).plan
    reported = described.counts(plan, Size(64, 64))
    useful = 64 * 64 * (3 * 16 + 9 * 16 * 16 + 16 * 3)
    assert reported["giga_fma"] == round(useful * 1e-9, 3) and reported["dispatches"] == 3
    assert reported["moved_megabytes"] == round(64 * 64 * 16 * (1 + 4 + 4 + 4 + 4 + 1) * 1e-6, 1)
    assert described.counts(plan, Size(64, 65))["giga_fma"] > reported["giga_fma"]


def test_layers_cost_what_they_are_compiled_to():
    from pipeline.cost.model import devices_of, layers

    target = targets.get("compute")
    found = {device.name: device for device in devices_of(target)}
    graph = made("style", (540, 960))
    costs = {name: found[name].milliseconds(layers(graph)) for name in found if name.startswith("compiled")}
    assert 0 < costs["compiled-desktop"] < costs["compiled-laptop"] < costs["compiled-phone"]
    pads = [layer for layer in layers(graph) if layer.operator in ("Pad", "Relu", "Upsample")]
    assert pads and all(found["compiled-phone"].worker.fuses(layer) for layer in pads)


@pytest.mark.parametrize("name", ["style", "segmentation", "gated"])
def test_predicted_traffic_is_near_what_is_counted_in_the_plan(name):
    from pipeline.cost.model import at_size

    graph, size = made(name), Size(960, 544)
    worker = targets.get("compute").family.devices()[0].worker
    moved = sum(worker.traffic(layer, {}) for layer in at_size(graph, size) if not worker.fuses(layer)) * 4e-6
    counted = described.counts(compile_graph(graph).plan, size)["moved_megabytes"]
    assert 0.65 < moved / counted < 1.2, (moved, counted)


def test_a_network_is_timed_on_the_device():
    execution.use_software()
    target = targets.get("compute")
    data = target.family.write(made("untouched"), target)
    reported = target.family.time_on_gpu(data, target, Size(48, 32), 0.1)
    assert reported["runs"] >= 1 and 0 < reported["minimum"] <= reported["median"] and reported["device"]
    assert np.isfinite(reported["median"])


def image_pooling(size: Size) -> Net:
    """As DeepLab's ASPP at an exported size: the mean of all pixels is enlarged to the picture's size again."""
    net = Net(size=size.hw)
    x = net.op("Relu", net.conv(net.image, 3, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    mean = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), 8, 8, 1))
    shape = net.constant([1, 8, -(-size.height // 2), -(-size.width // 2)], np.int64)
    mean = net.op("Resize", mean, "", "", shape, mode="linear", coordinate_transformation_mode="half_pixel")
    net.result = net.painted(net.conv(net.op("Concat", x, mean, axis=1), 16, 3, 1))
    return net


def test_an_enlarged_mean_has_the_size_of_its_picture_at_every_size():
    exported, other = Size(37, 29), Size(52, 64)
    net = image_pooling(exported)
    plan = compile_graph(net.graph(net.result)).plan
    again = image_pooling(other)
    picture = np.random.default_rng(0).random((1, 3, *other.hw), dtype=np.float32)
    expected = run(session(to_model(again.graph(again.result))), picture)
    assert 255 * np.abs(emulation.runner(plan)(picture) - expected).max() < 0.01


def test_sizes_at_which_parts_do_not_fit_together_are_told():
    """A resize to a constant size, joined with what follows the picture: it runs at its own size only."""
    net = Net(size=(28, 36))
    x = net.conv(net.image, 3, 8, 1)
    y = net.op("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4])
    y = net.op("Resize", y, "", "", net.constant([1, 8, 28, 36], np.int64), mode="nearest")
    compiled = compile_graph(net.graph(net.painted(net.conv(net.op("Concat", x, y, axis=1), 16, 3, 1))))
    assert compiled.plan.sizes(Size(36, 28))[-1] == Size(36, 28)
    with pytest.raises(ValueError, match="do not fit together"):
        compiled.plan.sizes(Size(39, 31))


def test_layer_norm_in_pieces_is_one_dispatch():
    kernels = [dispatch.kernel for dispatch in plan_of("gated").dispatches]
    assert kernels.count("AcrossChannels") == 1 and len(kernels) == 5


def test_gelu_in_pieces_is_one_activation():
    plan = plan_of("gelus")
    acts = [
        dispatch.macro(name)
        for dispatch in plan.dispatches
        for name in ("ACT_A", "ACT_B", "ACT_OUTPUT", "ACT_SUM")
    ]
    assert acts.count(KINDS["GELU"]) == 2 and acts.count(KINDS["ERF"]) == 1
    assert [dispatch.kernel for dispatch in plan.dispatches].count("Conv") == 4
