"""The main job, readable from top to bottom: read, export, simplify, lower, validate, verify (all in
`proven`), package.

`build_unity` is all steps and installs a bundle, `convert` stops at the ONNX file. Both return a `BuildResult`,
whose `report` is plain data: what the terminal, report.json, report.md and report.html show are views of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.build import cache
from pipeline.build import prove as proven
from pipeline.build.options import BuildOptions, Step, split
from pipeline.build.parts import Parts, bundle
from pipeline.build.result import BuildResult
from pipeline.support import identifiers as names
from pipeline.support.errors import PipelineError
from pipeline.support.files import existing_file
from pipeline.support.untrusted import on_a_file

if TYPE_CHECKING:
    from pipeline.network import Network
    from pipeline.verify.guide_pictures import GuidePictures


def _silent(name: str, found: str) -> None:
    pass


# --- the two jobs --------------------------------------------------------------------------------------------


@on_a_file
def build_unity(
    source: str | Path, options: BuildOptions | None = None, *, step: Step = _silent, **chosen: Any
) -> BuildResult:
    """Turn a trained network into a Unity bundle and install it.

    `options` and `chosen` are the fields of BuildOptions and Placement (`pipeline.build.options`). Without
    `output` and `project` the bundle goes into the project around the current folder, else into
    `./UnityProject`, made from the bundled one where it does not exist yet. Raises PipelineError for what the
    user can fix, ProofFailed when the numbers or the rules do not hold; in both cases nothing was written.
    """
    from pipeline.build import installing

    target_is_chosen = options is not None or chosen.get("target") is not None
    options, to = split(options, chosen)
    path = existing_file(source)
    name = names.checked(options.name) if options.name else names.identifier(path.stem)
    _check_inputs(options)
    site, options = installing.prepare(path, name, options, to, target_is_chosen=target_is_chosen)
    earlier = _from_cache(path, options, name, to.use_cache)
    cached = earlier is not None
    if earlier is None:
        parts, companions = make_parts(path, options, name, step)
        files = bundle(parts, options, name)
        step("package", f"{len(files)} files, {len(parts.network):,} bytes of model")
        if to.use_cache and companions is not None:
            cache.store(_cache_key(path, options, name), parts.members(), parts.report, companions)
    else:
        parts, files = earlier
        step("cache", "result of the last build, because nothing relevant has changed since")
    report = parts.report

    result = BuildResult(report, cached=cached)
    installing.install(files, site, options, to, result)
    if to.preview is not None and not to.dry_run:
        _write_preview(to.preview, files, report, name, options)
        result.preview = to.preview
    return result


@on_a_file
def convert(
    source: str | Path,
    output: str | Path | None = None,
    options: BuildOptions | None = None,
    *,
    step: Step = _silent,
    **chosen: Any,
) -> BuildResult:
    """Turn a trained network into a model file that the target imports without a warning.

    `options` and `chosen` are as for `build_unity`. The network keeps its own value ranges unless they are
    declared; then they are baked in. With `style_input`, the network takes a picture and the vector of a style; a
    second file, `NAME.predictor.onnx`, computes this vector, `NAME.styles.bytes` contains the vectors of the
    examples, and the value ranges must be declared or known. Existing files are refused before any work without
    `force`, unless the cache holds this very conversion and the bytes are the same. A finished conversion is taken
    from the cache.
    """
    from pipeline import targets
    from pipeline.build import several_styles
    from pipeline.build.origin import refuse_output
    from pipeline.support.files import write_new
    from pipeline.targets.family import FORM

    options, to = split(options, chosen)
    path = existing_file(source)
    written = Path(output) if output else Path.cwd() / f"{path.stem}.{options.target}.onnx"
    targets.get(options.target)
    several_styles.refuse(options)
    _check_inputs(options)
    earlier = _converted_before(path, options) if to.use_cache else None
    for member in (_MODEL, *(_OF_STYLES if options.style_input is not None else ())):
        refuse_output(
            _beside(written, member), path, to.force, None if earlier is None else earlier[0].get(member)
        )
    if earlier is not None:
        step("cache", "result of the last conversion, because nothing relevant has changed since")
        files, report = earlier
    else:
        files, report, network = _convert(path, options, step)
        if to.use_cache and ":" not in network.architecture:
            cache.store(_cache_key(path, options, _CONVERT), files, report, network.companions)
    result = BuildResult(report, bundle=written, cached=earlier is not None)
    result.notes += [str(report["model"][FORM])] if FORM in report["model"] else []
    for member, content in files.items():
        place = _beside(written, member)
        if member != _MODEL:
            result.notes.append(f"{_OF_STYLES[member]}: {place}")
        if place.is_file() and place.read_bytes() == content:
            result.notes.append(f"{'the file' if member == _MODEL else place} already exists and is identical")
        elif not to.dry_run:
            write_new(place, content, to.force)
    return result


_CONVERT = "convert/"
"""Stands for a bundle's name in the keys of the cache; no bundle can have this name."""
_MODEL = "model"
_OF_STYLES = {
    "predictor.onnx": "the network that computes the vector of a style",
    "styles.bytes": "the vectors of the examples, little-endian float32, one after the other",
}
"""The other files of a conversion with --style-input, by the ends of their names."""


def _beside(written: Path, member: str) -> Path:
    """The path of a file of a conversion: `written`, or `net.predictor.onnx` beside `net.onnx`."""
    return written if member == _MODEL else written.with_name(f"{written.name.removesuffix('.onnx')}.{member}")


def _convert(path: Path, options: BuildOptions, step: Step) -> tuple[dict[str, bytes], dict[str, Any], Network]:
    """The files of a conversion by their names in the cache, the report, and the source."""
    from pipeline.build import live_styles

    if options.style_input is None:
        declared = options.input_range or options.output_range
        network, lowered, _, report = proven.make(path, options, step, bake_contract=bool(declared))
        return {_MODEL: lowered.serialised}, report, network
    styled, live = live_styles.make(path, options, step)
    vectors, predictor, _ = live.members()
    others = {"predictor.onnx": predictor} if predictor else {}
    return {_MODEL: styled.lowered.serialised, **others, "styles.bytes": vectors}, styled.report, styled.network


def _converted_before(path: Path, options: BuildOptions) -> tuple[dict[str, bytes], dict[str, Any]] | None:
    """The files and the report of an identical earlier conversion; None if there is no trusted entry."""
    files, report = cache.load(_cache_key(path, options, _CONVERT)) or ({}, {})
    model = report.get("model")
    content = files.get(_MODEL)
    if content is None or not isinstance(model, dict) or not isinstance(model.get("digest"), str):
        return None
    is_trusted = cache.digest(content) == model["digest"] and set(files) <= {_MODEL, *_OF_STYLES}
    return (files, report) if is_trusted else None


def _check_inputs(options: BuildOptions) -> None:
    """Raise PipelineError before any work for unreadable pictures and unknown rewrites in --skip."""
    if options.skip:
        from pipeline.rewrites import check_skipped

        check_skipped(options.skip)
    _check_guides(options)
    for picture in (options.picture, *options.calibrate):
        if picture is not None:
            from pipeline.support.picture_files import check_picture

            check_picture(existing_file(picture))
    if options.original is not None:
        existing_file(options.original)


def _guide_pictures(options: BuildOptions) -> GuidePictures:
    """The guides of --picture, as --input-channels names them."""
    from pipeline.sources.guides import parse
    from pipeline.verify.guide_pictures import GuidePictures

    guides = parse(options.input_channels)[0] if options.input_channels is not None else ()
    return GuidePictures(guides, options.guides, options.picture.stem if options.picture is not None else "")


def _check_guides(options: BuildOptions) -> None:
    """Raise PipelineError for guides without a network or a picture that they belong to, and for wrong files."""
    if options.guides is None and options.input_channels is None:
        return
    from pipeline.compress.kinds import FLOAT

    pictures = _guide_pictures(options)
    guides = pictures.guides
    if options.guides is not None and (options.picture is None or not guides):
        missing = "--picture" if guides else "--input-channels"
        raise PipelineError(
            "conflicting-options",
            f"guides belong to a picture and to a network that takes them, but {missing} is not given",
            subject="--guides",
            remedy=f"Give {missing} too, or omit --guides.",
        )
    if guides and options.weights != FLOAT:
        raise PipelineError(
            "conflicting-options",
            "weights cannot be packed in a network with guides",
            subject="--weights",
            remedy="Omit --weights.",
        )
    if options.guides is not None and options.picture is not None:
        pictures.check(existing_file(options.picture))


# --- steps ---------------------------------------------------------------------------------------------------


def make_parts(
    path: Path, options: BuildOptions, name: str, step: Step, origin: Mapping[str, Any] | None = None
) -> tuple[Parts, tuple[Path, ...] | None]:
    """Run the build; returns its parts and the companion files (None: the result must not be cached).

    `origin` is the report of the original bundle, if its model `path` is ported to another target.
    """
    from pipeline import targets
    from pipeline.build import live_styles, looks, packed_styles, several_styles
    from pipeline.build.rebuild import rebuild_arguments
    from pipeline.build.report_pictures import report_pictures
    from pipeline.build.steadiness import steadiness
    from pipeline.compress.bundling import check_target, pack_lowered
    from pipeline.compress.kinds import FLOAT
    from pipeline.sources import ports
    from pipeline.verify import guide_pictures, pictures

    check_target(options.weights, targets.get(options.target))
    styled, live = None, None
    styles = () if options.style_input is not None else ports.styles(options.bind)
    if options.style_input is not None:
        styled, live = live_styles.make(path, options, step)
        network, lowered, proof, report = styled.network, styled.lowered, styled.proof, styled.report
    elif len(styles) > 1:
        several_styles.check(options, targets.get(options.target))
        styled = several_styles.make(path, options, styles, step)
        network, lowered, proof, report = styled.network, styled.lowered, styled.proof, styled.report
    else:
        network, lowered, proof, report = proven.make(path, options, step, bake_contract=True)
    report["name"] = name
    report["look"] = looks.of_options(options) if origin is None else looks.of_report(origin)
    if origin is not None:
        report["ported"] = {"from": origin["target"], "digest": report["source"]["digest"]}
        report["source"], report["contract"] = origin["source"], origin.get("contract")
    golden_picture, packed = proof.golden_output, None
    if options.weights != FLOAT:
        if styled is None:
            packing = pack_lowered(path, lowered, options, proof.golden_input, step)
        else:
            packing, styled, live = packed_styles.pack(path, styled, live, options, step)
        golden_picture, packed, report["packed"] = packing.golden_output, packing, packing.facts
        report["model"]["digest"] = packing.facts["model_digest"]
    report["rebuild"] = rebuild_arguments(options) if origin is None else origin.get("rebuild", [])
    golden_input, golden_output = pictures.png(pictures.colour(proof.golden_input)), pictures.png(golden_picture)
    report["flicker"] = steadiness(lowered, options.picture)
    pair = golden_input, pictures.png(proof.golden_output)
    guides = guide_pictures.of_picture(lowered.guides, options.guides, options.picture)
    pictures_by_caption = report_pictures(
        pair, lowered, proof, options.picture, options.size, report["look"], guides
    )
    golden_guides = guide_pictures.pngs(lowered.guides, proof.golden_input)
    for guide, png in zip(lowered.guides, golden_guides, strict=True):
        pictures_by_caption[f"the guide {guide.name} of the proof"] = png
    if packed is not None:
        pictures_by_caption[
            "the output of the packed network for it, which is the golden picture of this bundle"
        ] = golden_output
    for number, golden in enumerate(styled.golden_outputs if styled else ()):
        pictures_by_caption[f"style {number}, {report['styles'][number]['name']}"] = pictures.png(golden)
    own_code = ":" in network.architecture
    parts = Parts(
        report,
        lowered.serialised if packed is None else packed.packed,
        packed is None or packed.imported,
        golden_input,
        golden_output,
        pictures_by_caption,
        tuple(map(pictures.png, styled.golden_outputs)) if styled else (),
        *(live.members() if live is not None else (b"", b"", ())),
        golden_guides,
    )
    return parts, None if own_code else network.companions


# --- around the steps ----------------------------------------------------------------------------------------


def _write_preview(
    path: Path, files: dict[str, bytes], report: dict[str, Any], name: str, options: BuildOptions
) -> None:
    from pipeline import targets
    from pipeline.compress.packed import is_packed, unpack
    from pipeline.contract import Guide
    from pipeline.support.files import write_file
    from pipeline.support.size import Size
    from pipeline.verify import guide_pictures
    from pipeline.verify.preview import side_by_side

    model = report["model"]
    stem = f"StyleTransfer/Models/{name}/{name}"
    target, packed = targets.get(options.target), f"{stem}.bytes"
    imported = next((f"{stem}{suffix}" for suffix in target.family.suffixes if f"{stem}{suffix}" in files), packed)
    content = unpack(files[imported]).model if is_packed(files[imported]) else files[imported]
    size = Size(model["width"], model["height"])
    style = _first_style(files.get(f"{stem}Styles.bytes"), len(report.get("styles", ())))
    guides = [Guide(name) for name in model.get("guides", ())]
    shown = guide_pictures.of_picture(guides, options.guides, options.picture)
    write_file(path, side_by_side(content, target, options.picture, size, report["look"], style, shown))


def _first_style(vectors: bytes | None, count: int) -> list[float] | None:
    """The second input that selects the first style: its numbers, or one weight per style; None for one style."""
    import numpy as np

    if vectors:
        values = np.frombuffer(vectors, "<f4")
        return [float(value) for value in values[: values.size // max(1, count)]]
    return [1.0, *[0.0] * (count - 1)] if count > 1 else None


def _cache_key(path: Path, options: BuildOptions, name: str) -> str:
    from pipeline.sources import ports

    chosen = asdict(options) | {"name": name}
    if options.picture is not None:
        chosen["picture"] = cache.file_digest(existing_file(options.picture))
    if options.guides is not None:
        chosen["guides"] = [cache.file_digest(file) for file in _guide_pictures(options).files()]
    if options.original is not None:
        chosen["original"] = [options.original.name, cache.file_digest(existing_file(options.original))]
    chosen["bind"] = [
        f"{binding} {cache.file_digest(Path(bound))}"
        if ports.names_file(bound := binding.partition("=")[2])
        else binding
        for binding in options.bind
    ]
    chosen["calibrate"] = [cache.file_digest(existing_file(picture)) for picture in options.calibrate]
    return cache.key(path, chosen)


def _from_cache(
    path: Path, options: BuildOptions, name: str, use_cache: bool
) -> tuple[Parts, dict[str, bytes]] | None:
    """The parts of an identical earlier build and its files; None if there is no trusted entry."""
    entry = cache.load(_cache_key(path, options, name)) if use_cache else None
    if entry is None:
        return None
    try:
        parts = Parts.of(*entry)
        return parts, bundle(parts, options, name)
    except Exception:  # whatever an entry that was not made here leads to: it is built again
        return None
