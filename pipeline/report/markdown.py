"""Render the build report as Markdown, for a pull request or a repository."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from pipeline.report import packed
from pipeline.support.plain_text import plain


def render_markdown(report: Mapping[str, Any]) -> bytes:
    """The build report as UTF-8 Markdown: source, model, proof, cost, changes and findings."""
    source, model, target = report["source"], report["model"], report["target"]
    opset = "" if "plan" in report else f"opset {model['opset']}, "
    lines = [
        f"# {_cell(report.get('name', source['file']))}",
        "",
        f"Built from {_cell(source['file'])} for {built_for(target)} by {report['tool']}.",
        "",
        "| | |",
        "|---|---|",
        f"| network | {_cell(source['architecture'])} ({source['weights']:,} weights) |",
        f"| recognised by | {_cell(source['reason'])} |",
        *_contract_rows(report),
        f"| model | {model['bytes']:,} bytes, {opset}{model['giga_macs']:g} GMAC at "
        f"{model['width']}x{model['height']} |",
        *_layer_row(model),
        f"| sizes | {sizes(model)} |",
        *([f"| shown in Unity as | {text} |"] if (text := look(report)) else []),
        f"| source digest | `{source['digest']}` |",
        f"| model digest | `{model['digest']}` |",
        "",
        "## Proof",
        "",
        *_proof(report["proof"]),
        *_styles(report),
        *(line for sentence in further_sentences(report) for line in (sentence, "")),
        *_cost(report.get("cost")),
        *_advice(report.get("advice")),
        *_plan(report.get("plan")),
        *(line for sentence in arranged_sentences(report.get("arranged")) for line in (sentence, "")),
        *_flicker(report.get("flicker")),
        *(packed.markdown(report["packed"], model["weights"]) if "packed" in report else ()),
        "## Operators",
        "",
        "| operator | source | built |",
        "|---|---:|---:|",
        *_operators(report["before"]["operators"], model["operators"]),
        "",
        "## Changes to the graph",
        "",
        *(_edits(report["edits"]) or ["None: the target supports the graph as it was."]),
        "",
        "## Findings of the validator",
        "",
        silence(report["findings"]),
        "",
        *_findings(report["findings"]),
        "",
    ]
    notes = [*source["notes"], *model["notes"]]
    if notes:
        lines += ["## Notes", "", *(f"- {_cell(note)}" for note in notes), ""]
    return "\n".join(lines).encode()


_MARKUP = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")


def _cell(text: str) -> str:
    """Untrusted text escaped for a table cell or list item: no markup, no HTML."""
    return _MARKUP.sub(r"\\\1", html.escape(plain(text), quote=False))


def layers_sentence(model: Mapping[str, Any]) -> str:
    """The number of layers that Unity makes of the model, as text; "" where it is not known."""
    layers = model.get("layers")
    if layers is None:
        return ""
    return f"{layers['imported']} after import, {layers['optimised']} after the package's optimisation"


def _layer_row(model: Mapping[str, Any]) -> list[str]:
    sentence = layers_sentence(model)
    return [f"| layers in Unity | {sentence} |"] if sentence else []


def _contract_rows(report: Mapping[str, Any]) -> list[str]:
    contract, baked = report["contract"], report["baked"]
    if contract is None:
        return ["| image contract | not declared; the network keeps its own value ranges |"]
    rows = []
    for side in ("input", "output"):
        declared = contract[side]
        how = f": {baked[side]}" if baked else ", kept as it is"
        rows.append(f"| {side} | {declared['range']} {declared['order'].upper()}{_cell(how)} |")
    return rows


def look(report: Mapping[str, Any]) -> str:
    """How Unity shows the output, where it differs from the network's output; "" otherwise."""
    appearance = report.get("look") or {}
    parts = ["a mask, 1 at the subject: assign it to Mask Model"] if appearance.get("mask") else []
    if appearance.get("strength", 1) != 1:
        parts.append(f"strength {appearance['strength']:g}")
    if appearance.get("keep_colors", 0):
        parts.append(f"{appearance['keep_colors']:.0%} of the camera's own colours")
    return "; ".join(parts)


def sizes(model: Mapping[str, Any]) -> str:
    """The picture sizes at which the model runs, as text."""
    if model["fixed_size"]:
        return f"{model['width']}x{model['height']} only"
    scale = model["output_scale"]
    larger = "" if scale == 1 else f"; the output is {scale:g} times larger"
    return f"any multiple of {model['size_multiple']}, nominally {model['width']}x{model['height']}{larger}"


def styles(report: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(name, bindings, largest difference in levels of 255) of each style in the model, and of a blend of two."""
    rows = [
        (f"{number} {style['name']}", ", ".join(style["bound"]), style["proof"]["would_have_passed_at"])
        for number, style in enumerate(report.get("styles", ()))
    ]
    blend = report.get("style_blend")
    if rows and blend:
        rows.append(("a blend of the first two", "halfway", blend["would_have_passed_at"]))
    return rows


def _styles(report: Mapping[str, Any]) -> list[str]:
    rows = styles(report)
    if not rows:
        return []
    return [
        "| style | bound | largest difference (levels) |",
        "|---|---|---:|",
        *(f"| {_cell(name)} | {_cell(bound)} | {levels:.3f} |" for name, bound, levels in rows),
        "",
    ]


def _proof(proof: Mapping[str, Any]) -> list[str]:
    lines = [
        "The output of the source network compared with that of the built graph, as the target computes it. The "
        f"tolerance is {proof['tolerance_levels']:g} levels of 255; the smallest tolerance that would have passed "
        f"is {proof['would_have_passed_at']:g}."
        + (f" At least {proof['least_psnr']:g} dB PSNR are required." if "least_psnr" in proof else ""),
        "",
        "| input | size | largest difference (levels) | mean | PSNR |",
        "|---|---|---:|---:|---:|",
    ]
    for c in proof["comparisons"]:
        psnr = "over 110 dB" if c["psnr"] is None else f"{c['psnr']:.1f} dB"
        lines.append(
            f"| {c['input']} | {c['width']}x{c['height']} "
            f"| {c['max_levels']:.3f} | {c['mean_levels']:.4f} | {psnr} |"
        )
    lines.append("")
    for note in proof["notes"]:
        lines += [f"{_cell(note[0].upper() + note[1:])}.", ""]
    return lines


def further_sentences(report: Mapping[str, Any]) -> list[str]:
    """Sentences on further measurements: a low-contrast picture, and for a quantised source the difference of the
    float graph from the quantised one, and from the network before quantising.
    """
    sentences = _low_contrast(report["proof"].get("low_contrast"))
    if found := report.get("against_quantised"):
        sentences.append(
            f"Compared with the quantised source as ONNX Runtime runs it: {_far(found)}. The difference is the "
            "rounding of activations, which Unity does not do because it computes in float. Quantising makes the "
            "file smaller, but not faster."
        )
    if found := report.get("against_original"):
        sentences.append(
            f"Compared with the original {plain(found['file'])}: the source {_far(found['source'])}; the built "
            f"network {_far(found['built'])}."
        )
    return sentences


def _low_contrast(measured: Mapping[str, Any] | None) -> list[str]:
    """Sentences on a low-contrast picture: the difference with and without the rewrite for it, and the reason."""
    if not measured:
        return []
    sentence = (
        "Low contrast: GPU kernels compute a normalisation's variance as E[x^2] - E[x]^2 in float32, which loses "
        "precision if a picture hardly varies (fades, fog, loading screens). On the picture at "
        f"{measured['contrast']:.0%} of its contrast, the built graph computed in this way is within "
        f"{measured['levels']:g} levels of the source, which also rounds such a picture in float32"
    )
    if measured["levels_without"] is not None:
        sentence += f" (within {measured['levels_without']:g} without the rewrite low-contrast)"
    if measured["mean_taken_off"] is not False:
        return [sentence + "."]
    return [
        f"{sentence}. The picture's mean is not subtracted, because that is exact only if the first convolution "
        "does not pad with zeros and a normalisation follows it."
    ]


def _far(found: Mapping[str, Any]) -> str:
    decibels = "the same picture" if found["psnr"] is None else f"{found['psnr']:.1f} dB"
    return f"{decibels}, {found['mean_levels']:.2f} levels on average"


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    """The section on the cost of a picture, counted and predicted."""
    if not cost:
        return []
    devices = cost["devices"]
    return [
        "## Cost of a picture",
        "",
        "Milliseconds are predicted, for the network only (docs/cost.md says how accurate they are).",
        "",
        "| picture | GMAC | activations written, MB | peak memory, MB | "
        + " | ".join(f"{device['title']}, ms" for device in devices)
        + " |",
        "|---|---:|---:|---:|" + "---:|" * len(devices),
        *(
            f"| {size} | {facts['giga_macs']} | {facts['written_megabytes']} | {facts['peak_megabytes']} | "
            + " | ".join(f"{facts['predicted'][device['name']]}" for device in devices)
            + " |"
            for size, facts in cost["sizes"].items()
        ),
        "",
    ]


def built_for(target: Mapping[str, Any]) -> str:
    """The name of a target, with the version of its package if it has one."""
    package = f" ({target['package']} {target['package_version']})" if target["package"] else ""
    return f"{target['name']}{package}"


def _advice(advice: Mapping[str, Any] | None) -> list[str]:
    """The section that compares targets by predicted time and recommends one."""
    if not advice:
        return []
    classes = advice["classes"]
    rows = [
        f"| {row['target']} | "
        + " | ".join(f"{row['predicted'].get(kind, '')}" for kind in classes)
        + f" | {_cell(row['refused'] or 'supported')} |"
        for row in advice["rows"]
    ]
    return [
        "## Recommended target",
        "",
        f"Predicted milliseconds at {advice['size']} on a GPU of each class.",
        "",
        "| target | " + " | ".join(classes) + " | this network |",
        "|---|" + "---:|" * len(classes) + "---|",
        *rows,
        "",
        f"Recommended: `--target {advice['recommended']}`. {_cell(' '.join(advice['reasons']))}",
        "",
    ]


def _plan(plan: list[Mapping[str, Any]] | None) -> list[str]:
    """The section with the engine's plan, one row per dispatch."""
    if not plan:
        return []
    rows = [
        f"| {row['dispatch']} | {_cell(row['does'])} | {' + '.join(row['reads'])} | {' + '.join(row['writes'])} "
        f"| {plan_size(row)} | `{row['kernel']}` |"
        for row in plan
    ]
    return [
        "## Plan",
        "",
        "| | operation | reads | writes | output | kernel |",
        "|---:|---|---|---|---|---|",
        *rows,
        "",
    ]


def plan_size(row: Mapping[str, Any]) -> str:
    """Channels and size of a dispatch's output; "" for statistics."""
    return f"{row['channels']} x {row['width']}x{row['height']}" if row["channels"] else ""


def arranged_sentences(arranged: Mapping[str, Any] | None) -> list[str]:
    """Sentences on the device class that the graph is arranged for, the predicted gain, and other devices."""
    if not arranged:
        return []
    device = f"{arranged['title']} (device class {arranged['device']})"
    if not arranged["done"]:
        return [f"Arranged for: {device}; no rearrangement is predicted to be faster there."]
    before, after = arranged["before_ms"], arranged["after_ms"]
    places = len(arranged["done"])
    return [
        f"Arranged for: {device}. {places} layer{'' if places == 1 else 's'} of the graph compute the same "
        f"numbers in another way: predicted {before:.2f} ms before and {after:.2f} ms after, at "
        f"{arranged['size']}. The model runs on every device; for another class of devices, --device may give a "
        "faster arrangement."
    ]


def _flicker(flicker: Mapping[str, Any] | None) -> list[str]:
    """The sentence on flicker: the difference between an output and the motion-compensated previous output."""
    if not flicker:
        return []
    clips = ", ".join(f"{name} {clip['painted']} ({clip['frames']})" for name, clip in flicker["clips"].items())
    return [f"Flicker in levels of 255, with that of the source frames in parentheses: {clips}.", ""]


def _operators(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    return [f"| {_cell(op)} | {before.get(op, 0)} | {after.get(op, 0)} |" for op in sorted({*before, *after})]


def _edits(edits: list[Mapping[str, Any]]) -> list[str]:
    return [f"- **{e['rewrite']}** {_cell(e['what'])} ({_cell(e['why'])})" for e in edits]


def silence(findings: list[Mapping[str, Any]]) -> str:
    """A sentence that says whether Unity's console will show warnings or errors."""
    loud = [f for f in findings if f["severity"] in ("error", "wrong", "warning")]
    return "Unity's console will warn." if loud else "Unity's console shows nothing."


def _findings(findings: list[Mapping[str, Any]]) -> list[str]:
    return [
        f"- {f['severity']} `{f['code']}` {_cell(f['operator'])} {_cell(f['node'])}: {_cell(f['reason'])}"
        for f in findings
    ]
