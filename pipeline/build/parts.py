"""The results of a build before they become files: the model, the pictures and the report.

The cache stores these, and the files of the bundle are generated from them each time: what Unity runs (C#,
shaders, scenes) comes only from the templates of this tool, even if somebody else can write to the cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.build.options import BuildOptions
    from pipeline.unity.bundle import PredictorSpec

_CAPTIONS = "captions.json"
_VECTORS = "style_vectors"
_PREDICTOR = "style_predictor"
_OF_STYLE = "of_style_"
_WHOLE = ("input_channels", "output_channels", "width", "height", "size_multiple", "weights")
_REAL = ("output_scale", "giga_macs")
_TEXTS = ("digest", "input_name", "output_name")


def _numbered(member: tuple[str, bytes]) -> tuple[int, str]:
    """Members in the order of the numbers in their names."""
    digits = "".join(char for char in member[0] if char.isdigit())
    return int(digits or 0), member[0]


@dataclass(frozen=True)
class Parts:
    """The model's file (imported by Unity, or packed), the golden pictures, and those of the report by caption."""

    report: dict[str, Any]
    network: bytes
    imported: bool
    golden_input: bytes
    golden_output: bytes
    pictures: dict[str, bytes]
    styles: tuple[bytes, ...] = ()
    """The golden pictures of several styles, in the order of the report's `styles`; none for one."""
    vectors: bytes = b""
    """The numbers of those styles, little-endian float32, where a game may give others; see `live_styles`."""
    predictor: bytes = b""
    """The model file that makes such numbers of a style; nothing where a style is a number."""
    style_pictures: tuple[bytes, ...] = ()
    """Those styles, where a style is a picture."""
    golden_guides: tuple[bytes, ...] = ()
    """The guides of the golden input, in the order of the report's `model.guides`."""

    def members(self) -> dict[str, bytes]:
        """The parts but the report, as the cache keeps them."""
        return {
            "network.imported" if self.imported else "network.packed": self.network,
            "golden_input.png": self.golden_input,
            "golden_output.png": self.golden_output,
            _CAPTIONS: json.dumps(list(self.pictures)).encode(),
            **{f"picture_{number}.png": png for number, png in enumerate(self.pictures.values())},
            **{f"style_{number}.png": png for number, png in enumerate(self.styles)},
            **({_VECTORS: self.vectors} if self.vectors else {}),
            **({_PREDICTOR: self.predictor} if self.predictor else {}),
            **{f"of_style_{number}.png": png for number, png in enumerate(self.style_pictures)},
            **{f"guide_{number}.png": png for number, png in enumerate(self.golden_guides)},
        }

    @classmethod
    def of(cls, members: Mapping[str, bytes], report: dict[str, Any]) -> Parts:
        """What `members` gave. Raises ValueError, KeyError or TypeError for anything else."""
        captions = json.loads(members[_CAPTIONS])
        imported = "network.imported" in members
        parts = cls(
            report,
            members["network.imported" if imported else "network.packed"],
            imported,
            members["golden_input.png"],
            members["golden_output.png"],
            {str(caption): members[f"picture_{number}.png"] for number, caption in enumerate(captions)},
            tuple(members[f"style_{number}.png"] for number in range(len(report.get("styles", ())))),
            members.get(_VECTORS, b""),
            members.get(_PREDICTOR, b""),
            tuple(png for name, png in sorted(members.items(), key=_numbered) if name.startswith(_OF_STYLE)),
            tuple(members[f"guide_{number}.png"] for number in range(len(report["model"].get("guides", ())))),
        )
        if set(parts.members()) != set(members):
            raise ValueError("it has unexpected members")
        model, source = report["model"], report["source"]
        kinds: list[tuple[Any, Any]] = [(model[key], int) for key in _WHOLE]
        kinds += [(model[key], (int, float)) for key in _REAL]
        kinds += [(model[key], str) for key in _TEXTS]
        kinds += [((report.get("arranged") or {"device": ""})["device"], str)]
        kinds += [(name, str) for name in model.get("guides", ())]
        kinds += [(guide_input["name"], str) for guide_input in model.get("guide_inputs", ())]
        kinds += [(source[key], str) for key in ("digest", "architecture", "file")]
        for value, kind in kinds:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError("a fact of the model has the wrong type")
        return parts


def _predictor(parts: Parts) -> PredictorSpec | None:
    predictor = parts.report.get("live_style", {}).get("predictor")
    if not parts.predictor or not isinstance(predictor, dict):
        return None
    from pipeline.compress.packed import is_packed
    from pipeline.unity.bundle import PredictorSpec

    return PredictorSpec(
        onnx=parts.predictor,
        model_digest=str(predictor["digest"]),
        input_name=str(predictor["input_name"]),
        output_name=str(predictor["output_name"]),
        input_channels=int(predictor["input_channels"]),
        values=int(parts.report["live_style"]["values"]),
        width=int(predictor["width"]),
        height=int(predictor["height"]),
        weights=int(predictor["weights"]),
        giga_macs=float(predictor["giga_macs"]),
        pngs=parts.style_pictures,
        is_packed=is_packed(parts.predictor),
    )


def bundle(parts: Parts, options: BuildOptions, name: str) -> dict[str, bytes]:
    """The files of the bundle: path from the folder that gets StyleTransfer/ -> bytes."""
    from pipeline import targets
    from pipeline.build import facts, looks
    from pipeline.report.html import render_html
    from pipeline.report.markdown import render_markdown
    from pipeline.support.plain_text import cleaned
    from pipeline.support.serialise import render_json
    from pipeline.unity.bundle import BundleSpec, render

    report = cleaned(parts.report)
    model, source, look = report["model"], report["source"], looks.of_report(report)
    return render(
        BundleSpec(
            name=name,
            title=facts.title(name),
            onnx=parts.network if parts.imported else None,
            packed=None if parts.imported else parts.network,
            target=targets.get(options.target),
            source_name=source["file"],
            source_digest=source["digest"],
            model_digest=model["digest"],
            architecture=source["architecture"],
            input_name=parts.report["model"]["input_name"],
            output_name=parts.report["model"]["output_name"],
            input_channels=3 if model.get("guides") else model["input_channels"],
            output_channels=model["output_channels"],
            nominal_width=model["width"],
            nominal_height=model["height"],
            size_multiple=model["size_multiple"],
            fixed_size=bool(model["fixed_size"]),
            output_scale=model["output_scale"],
            weights=model["weights"],
            giga_macs=model["giga_macs"],
            golden_input_png=parts.golden_input,
            golden_output_png=parts.golden_output,
            golden_tolerance=max(1.0, report["proof"]["tolerance_levels"] + 0.5),
            style_input=str(model.get("style_input", "")),
            style_names=tuple(str(style["name"]) for style in report.get("styles", ())),
            style_pngs=parts.styles,
            style_vectors=parts.vectors,
            predictor=_predictor(parts),
            guides=tuple(model.get("guides", ())),
            guide_inputs=tuple(
                guide_input["name"] for guide_input in parts.report["model"].get("guide_inputs", ())
            ),
            golden_guide_pngs=parts.golden_guides,
            is_mask=look["mask"],
            strength=look["strength"],
            keep_colors=look["keep_colors"],
            arranged_for=(report.get("arranged") or {}).get("device", ""),
            reports={
                "report.json": render_json(report),
                "report.md": render_markdown(report),
                "report.html": render_html(report, parts.pictures),
            },
        )
    )
