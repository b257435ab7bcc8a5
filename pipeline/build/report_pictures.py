"""The pictures of a build's report: what Unity will show at the nominal size, a detail, and the proof's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.support.size import Size

if TYPE_CHECKING:
    from pipeline.build.lowering import Lowered
    from pipeline.verify.guide_pictures import GuidePictures
    from pipeline.verify.proof import Proof

_DETAIL = Size(320, 180)
"""What the report shows of a picture pixel by pixel."""


def report_pictures(
    golden: tuple[bytes, bytes],
    lowered: Lowered,
    proof: Proof,
    picture: Path | None,
    nominal: Size,
    look: Mapping[str, Any],
    guides: GuidePictures | None = None,
) -> dict[str, bytes]:
    """Image bytes by caption: the nominal size first, then the pair of the proof and their difference."""
    from pipeline.verify import pictures
    from pipeline.verify.difference_picture import difference_map

    assert lowered.candidate is not None
    built = lowered.candidate(proof.golden_input)
    tolerance = f"{proof.tolerance:g} levels"
    small = Size.of_hw(proof.golden_input.shape[2:])
    apart = difference_map(proof.golden_output, built, proof.tolerance)
    return {
        **_nominal_pictures(lowered, picture, nominal, look, guides),
        f"the picture of the proof at {small}: small, so that every build can run both networks": golden[0],
        f"the output of the source network at {small}": golden[1],
        f"the output of the built graph, as computed by {lowered.target.name}": pictures.png(built),
        f"their difference: black is below a sixteenth of {tolerance}, white is {tolerance} or more": apart,
    }


def _nominal_pictures(
    lowered: Lowered,
    picture: Path | None,
    nominal: Size,
    look: Mapping[str, Any],
    guides: GuidePictures | None,
) -> dict[str, bytes]:
    """The output of the built graph at its nominal size, whole and in detail."""
    from pipeline.verify import look as looks
    from pipeline.verify import pictures

    assert lowered.candidate is not None
    size = lowered.fixed_size if lowered.fixed_size else nominal.rounded(lowered.size_multiple)
    given = pictures.load(picture, *size.hw, lowered.input_channels, guides)
    picture01 = pictures.colour(given)
    output = looks.of_style(picture01, lowered.candidate(given), look)
    top, left = (max(0, (whole - part) // 2) for whole, part in zip(output.shape[2:], _DETAIL.hw, strict=True))
    detail = output[:, :, top : top + _DETAIL.height, left : left + _DETAIL.width]
    return {
        f"the input at {size}": pictures.jpeg(picture01),
        f"the picture in Unity at {size}": pictures.jpeg(output),
        "a detail at full resolution": pictures.png(detail),
    }
