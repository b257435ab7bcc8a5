"""The bundle: every file of the folder `StyleTransfer/`, made in memory from one `BundleSpec`.

`Runtime/` and `Editor/` are shared: the same bytes and GUIDs whatever the model, so that the bundles of two
models merge into one folder. What is of one model lies in `Models/<Name>/`, what runs the models of a family
of targets in `Engines/<Engine>/`, and what several models have in common in `Kernels/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipeline.support.errors import PipelineError
from pipeline.support.version import __version__
from pipeline.unity import guid as ids
from pipeline.unity import meta
from pipeline.unity.guid import guid, local_id, reference
from pipeline.unity.manifest import MANIFEST, manifest
from pipeline.unity.scene import Camera, Item, Script, render_scene
from pipeline.unity.templates import fill, templates_folder

if TYPE_CHECKING:
    from pipeline.targets import Target

ROOT = "StyleTransfer"
SHARED = f"{ROOT}/Kernels"
"""Files that several models may have in common, named by what is in them. They are in the manifest of each of
these models, and go with the last of them."""
MODEL_SCRIPT = f"{ROOT}/Runtime/StyleTransferModel.cs"
"""The ScriptableObject class of `<Name>.asset`."""
SHADERS = {
    f"{name.lower()}Shader": f"{ROOT}/Runtime/Shaders/StyleTransfer{name}.shader"
    for name in ("Convert", "Motion", "Mask", "Guides")
}
"""The component's fields that refer to shaders -> the shaders."""


BENCHMARK_SCENE = f"{ROOT}/Benchmark/StyleTransferBenchmark.unity"


@dataclass(frozen=True)
class PredictorSpec:
    """The network that computes the vector of a style from a picture or a vector; `is_packed`: it is unpacked when
    the game runs, otherwise its file is imported by Unity.

    A picture is `width` x `height` pixels; a vector 1x1 of `input_channels`. `values` numbers come out. `pngs` are
    the styles of the bundle, where they are pictures.
    """

    onnx: bytes
    model_digest: str
    input_name: str
    output_name: str
    input_channels: int
    values: int
    width: int
    height: int
    weights: int
    giga_macs: float
    pngs: tuple[bytes, ...] = ()
    is_packed: bool = False


@dataclass(frozen=True)
class BundleSpec:
    """Everything that a bundle says about one model.

    `name` is a C# identifier such as `Mosaic`: the folder `Models/<name>/` and the class `<name>StyleTransfer`.
    `nominal_width`, `nominal_height` and `size_multiple` are in pixels; `output_scale` is output size over input
    size; `golden_tolerance` is in 8-bit levels. `reports`: file name (`report.html`) -> bytes.
    `style_names`: of several styles in the one model, none for one; `style_pngs` are their golden outputs, and
    `style_input` is the input that takes a weight for each ("" where the engine mixes weights), or the numbers of
    one, where `style_vectors` holds those of each style, little-endian float32; `predictor` makes others.
    `guides` are what the network takes beside the colour, in this order, `guide_inputs` the inputs that take them
    (textures of up to four channels), and `golden_guide_pngs` those of the golden input, one for each guide.
    `is_mask`: the output is a mask, not a picture. `strength` and `keep_colors` are shares, 0 to 1.
    Either `onnx`, which Unity imports, or `packed`, which holds it and is imported when the game runs.
    """

    name: str
    title: str
    onnx: bytes | None
    target: Target
    source_name: str
    source_digest: str
    model_digest: str
    architecture: str
    input_name: str
    output_name: str
    input_channels: int
    output_channels: int
    nominal_width: int
    nominal_height: int
    size_multiple: int
    fixed_size: bool
    output_scale: float
    weights: int
    giga_macs: float
    golden_input_png: bytes
    golden_output_png: bytes
    golden_tolerance: float
    reports: dict[str, bytes] = field(default_factory=dict)
    packed: bytes | None = None
    style_input: str = ""
    style_names: tuple[str, ...] = ()
    style_pngs: tuple[bytes, ...] = ()
    style_vectors: bytes = b""
    predictor: PredictorSpec | None = None
    guides: tuple[str, ...] = ()
    guide_inputs: tuple[str, ...] = ()
    golden_guide_pngs: tuple[bytes, ...] = ()
    is_mask: bool = False
    strength: float = 1.0
    keep_colors: float = 0.0
    arranged_for: str = ""
    """The class of devices that the graph is arranged for; "" where it is the same for all."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.onnx is None) == (self.packed is None):
            raise ValueError("a bundle has one model, imported or packed")

    @property
    def network(self) -> bytes:
        """The bytes of the file that holds the network."""
        data = self.packed if self.onnx is None else self.onnx
        assert data is not None
        return data


_WINDOWS_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])")


def check_name(name: str) -> str:
    """The name itself if it can be a C# class name and a folder on every system, else `bad-model-name`."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or _WINDOWS_DEVICES.fullmatch(name):
        raise PipelineError(
            "bad-model-name",
            f"{name!r} cannot be used as the name of a C# class and of a folder",
            subject="--name",
            remedy="Use letters, digits and underscores, beginning with a letter, such as --name Mosaic.",
        )
    return name


def model_folder(name: str) -> str:
    """The folder of a model in the bundle: `StyleTransfer/Models/<Name>`."""
    return f"{ROOT}/Models/{name}"


def engine_of(target: Target) -> str:
    """The engine that runs the models of a target: the name of its folder, `Barracuda`."""
    return target.family.engine.removeprefix("StyleTransfer.")


def render(spec: BundleSpec) -> dict[str, bytes]:
    """Every file of the bundle: path from the folder that will hold `StyleTransfer/` -> bytes.

    The same spec gives the same bytes, in sorted order. Every file and every folder (`StyleTransfer` too) has
    its `.meta`, with a GUID from its path. `StyleTransfer/bundle.json` lists the shared files,
    `StyleTransfer/Engines/<Engine>/bundle.json` those of the engine, `StyleTransfer/Models/<Name>/bundle.json`
    those of the model, with the shared files that it needs: a build for another family leaves the engines of the
    others alone.
    """
    shared = with_manifest(ROOT, _shared())
    return dict(sorted({**shared, **_engine(engine_of(spec.target)), **_of_model(spec)}.items()))


def known_paths(name: str, target: Target) -> list[str]:
    """The files of a bundle that are known before there is a model."""
    model = (f"{model_folder(name)}/{file}" for file in (MANIFEST, "report.json", f"{name}.asset"))
    return sorted({*_shared(), *_engine(engine_of(target)), *model})


_FOLDERS = {"Runtime": "Runtime", "Editor": "Editor", "Benchmark": "Benchmark", "model": "Models"}
"""Folders of unity_templates that go into the bundle as they are, and their names there."""


def _shared() -> dict[str, bytes]:
    files = {f"{ROOT}/README.txt": fill("README.txt.j2")}
    for source, destination in _FOLDERS.items():
        files |= _copied(source, f"{ROOT}/{destination}")
    files[BENCHMARK_SCENE] = _benchmark_scene()
    metas = {f"{path}.meta": meta.file_meta(path, guid(path)) for path in files}
    return files | metas | _folder_metas([*files, f"{ROOT}/Models/any", f"{ROOT}/Engines/any"])


def _engine(name: str) -> dict[str, bytes]:
    folder = f"{ROOT}/Engines/{name}"
    files = _copied(f"Engines/{name}", folder)
    if not files:
        return {}
    metas = {f"{path}.meta": meta.file_meta(path, guid(path)) for path in files}
    folders = {path: data for path, data in _folder_metas(list(files)).items() if path.startswith(folder)}
    return with_manifest(folder, files | metas | folders)


def _copied(source: str, destination: str) -> dict[str, bytes]:
    """The files of a folder of unity_templates that need no filling, by their paths in the bundle."""
    folder, files = templates_folder() / source, {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".meta", ".j2") and not path.name.startswith("."):
            # Unix line ends also from a Windows checkout, so that every machine makes the same bytes.
            data = path.read_bytes().replace(b"\r\n", b"\n")
            files[f"{destination}/{path.relative_to(folder).as_posix()}"] = data
    return files


def _benchmark_scene() -> bytes:
    script = reference(ids.MONO_SCRIPT, guid(f"{ROOT}/Benchmark/StyleTransferBenchmark.cs"), ids.IMPORTED)
    shader = reference(ids.SHADER, guid(SHADERS["convertShader"]), ids.IMPORTED)
    benchmark = Script("StyleTransferBenchmark", script, ("models: []", f"convertShader: {shader}"))
    items = (
        Item("Main Camera", position=(0, 1, -10), tag="MainCamera", camera=Camera()),
        Item("Benchmark", scripts=(benchmark,)),
    )
    return render_scene(BENCHMARK_SCENE, items)


def _of_model(spec: BundleSpec) -> dict[str, bytes]:
    folder, class_name = model_folder(spec.name), f"{spec.name}StyleTransfer"
    is_packed = spec.packed is not None
    family, asset = spec.target.family, f"{folder}/{spec.name}.asset"
    packed_file = {f"{spec.name}.bytes": spec.network}
    model_files = packed_file if is_packed else family.model_files(spec.name, spec.network, spec.target)
    network = f"{folder}/{next(iter(model_files))}"
    shared_files = {} if is_packed else family.shared_files(spec.network, spec.target)
    stub, prefab = f"{folder}/{class_name}.cs", f"{folder}/{spec.name}Camera.prefab"
    golden_input, golden_output = f"{folder}/golden_input.png", f"{folder}/golden_output.png"
    goldens = {f"{folder}/golden_output_{number}.png": png for number, png in enumerate(spec.style_pngs)}

    guide_files = {
        f"{folder}/golden_{guide}.png": png for guide, png in zip(spec.guides, spec.golden_guide_pngs, strict=True)
    }
    style_files, style_links = _style_files(spec, folder)

    links = {
        "model": reference(ids.SCRIPTABLE_OBJECT, guid(asset), ids.NATIVE),
        **{field: reference(ids.SHADER, guid(path), ids.IMPORTED) for field, path in SHADERS.items()},
    }
    files = {
        **{f"{folder}/{name}": data for name, data in model_files.items()},
        **{f"{SHARED}/{name}": data for name, data in shared_files.items()},
        asset: fill(
            "yaml/model.asset.j2",
            spec=spec,
            name=spec.name,
            file_bytes=len(spec.network),
            script=reference(ids.MONO_SCRIPT, guid(MODEL_SCRIPT), ids.IMPORTED),
            model=ids.NOTHING if is_packed else family.model_reference(guid(network), spec.target),
            packed=reference(ids.TEXT, guid(network), ids.IMPORTED) if is_packed else ids.NOTHING,
            golden_input=reference(ids.TEXTURE, guid(golden_input), ids.IMPORTED),
            golden_output=reference(ids.TEXTURE, guid(golden_output), ids.IMPORTED),
            style_goldens=[reference(ids.TEXTURE, guid(path), ids.IMPORTED) for path in goldens],
            golden_guides=[reference(ids.TEXTURE, guid(path), ids.IMPORTED) for path in guide_files],
            predictor_spec=None,
            **style_links,
        ),
        stub: _stub(spec, class_name),
        prefab: fill(
            "yaml/camera.prefab.j2",
            name=f"{spec.name}Camera",
            game_object=local_id(f"{prefab}#GameObject"),
            transform=local_id(f"{prefab}#Transform"),
            camera=local_id(f"{prefab}#Camera"),
            component=local_id(f"{prefab}#{class_name}"),
            script=reference(ids.MONO_SCRIPT, guid(stub), ids.IMPORTED),
            links=links,
            target_height=spec.nominal_height,
        ),
        golden_input: spec.golden_input_png,
        golden_output: spec.golden_output_png,
        **goldens,
        **guide_files,
        **style_files,
        **{f"{folder}/{name}": data for name, data in spec.reports.items()},
    }
    stripping = f"Engines/{engine_of(spec.target)}/link.xml.j2"
    if is_packed and (templates_folder() / stripping).exists():
        files[f"{folder}/link.xml"] = fill(stripping)
    metas = {}
    for path in files:
        own = family.meta(PurePosixPath(path).name, guid(path), spec.target)
        metas[f"{path}.meta"] = meta.file_meta(path, guid(path)) if own is None else own
    for path in guide_files:
        metas[f"{path}.meta"] = meta.texture_meta(guid(path), srgb=False)
    metas[f"{stub}.meta"] = meta.script_meta(guid(stub), links)
    for created in (folder, SHARED) if shared_files else (folder,):
        metas[f"{created}.meta"] = meta.folder_meta(guid(created))
    facts = {"target": spec.target.name} | ({"arranged_for": spec.arranged_for} if spec.arranged_for else {})
    return with_manifest(folder, files | metas, facts)


def _style_files(spec: BundleSpec, folder: str) -> tuple[dict[str, bytes], dict[str, object]]:
    """The files of styles that a game may give, and how the model's asset refers to them."""
    files: dict[str, bytes] = {}
    links: dict[str, object] = {"style_vectors": ids.NOTHING, "predictor": ids.NOTHING, "style_pictures": []}
    if spec.style_vectors:
        path = f"{folder}/{spec.name}Styles.bytes"
        files[path] = spec.style_vectors
        links["style_vectors"] = reference(ids.TEXT, guid(path), ids.IMPORTED)
    predictor = spec.predictor
    if predictor is None:
        return files, links
    name, family = f"{spec.name}Predictor", spec.target.family
    packed_file = {f"{name}.bytes": predictor.onnx}
    model_files = packed_file if predictor.is_packed else family.model_files(name, predictor.onnx, spec.target)
    network = guid(f"{folder}/{next(iter(model_files))}")
    files |= {f"{folder}/{file}": data for file, data in model_files.items()}
    shared_files = family.shared_files(predictor.onnx, spec.target)
    files |= {f"{SHARED}/{file}": data for file, data in shared_files.items()}
    pictures = {f"{folder}/style_{number}.png": png for number, png in enumerate(predictor.pngs)}
    files |= pictures
    asset = f"{folder}/{name}.asset"
    files[asset] = fill(
        "yaml/model.asset.j2",
        spec=replace(
            spec,
            title=f"{spec.title} Predictor",
            model_digest=predictor.model_digest,
            input_name=predictor.input_name,
            output_name=predictor.output_name,
            input_channels=predictor.input_channels,
            output_channels=predictor.values,
            nominal_width=predictor.width,
            nominal_height=predictor.height,
            size_multiple=1,
            fixed_size=True,
            output_scale=1.0,
            weights=predictor.weights,
            giga_macs=predictor.giga_macs,
            style_input="",
            style_names=(),
            guides=(),
            guide_inputs=(),
            is_mask=False,
            strength=1.0,
            keep_colors=0.0,
        ),
        name=name,
        file_bytes=len(predictor.onnx),
        script=reference(ids.MONO_SCRIPT, guid(MODEL_SCRIPT), ids.IMPORTED),
        model=ids.NOTHING if predictor.is_packed else family.model_reference(network, spec.target),
        packed=reference(ids.TEXT, network, ids.IMPORTED) if predictor.is_packed else ids.NOTHING,
        golden_input=ids.NOTHING,
        golden_output=ids.NOTHING,
        style_goldens=[],
        golden_guides=[],
        predictor_spec=predictor,
        style_vectors=ids.NOTHING,
        predictor=ids.NOTHING,
        style_pictures=[],
    )
    links["predictor"] = reference(ids.SCRIPTABLE_OBJECT, guid(asset), ids.NATIVE)
    links["style_pictures"] = [reference(ids.TEXTURE, guid(path), ids.IMPORTED) for path in pictures]
    return files, links


def _stub(spec: BundleSpec, class_name: str) -> bytes:
    return fill(
        "model/stub.cs.j2",
        class_name=class_name,
        title=_one_line(spec.title),
        source_name=_one_line(spec.source_name),
        source_digest=_one_line(spec.source_digest),
        weights=spec.weights,
        giga_macs=spec.giga_macs,
        nominal_width=spec.nominal_width,
        nominal_height=spec.nominal_height,
        file_bytes=len(spec.network),
        target=spec.target.name,
        tool_version=__version__,
    )


def _one_line(text: str) -> str:
    """Words of the user on one line, for comments and strings of C#; the template does the quoting."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _folder_metas(paths: list[str]) -> dict[str, bytes]:
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents} - {"."}
    return {f"{folder}.meta": meta.folder_meta(guid(folder)) for folder in sorted(folders)}


def with_manifest(
    folder: str, files: Mapping[str, bytes], facts: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The files of one unit of a bundle with their list, `bundle.json` in the unit's folder, and its meta."""
    path = f"{folder}/{MANIFEST}"
    own_meta = {f"{path}.meta": meta.file_meta(path, guid(path))}
    listed = {**files, **own_meta}
    return {**listed, path: manifest(listed, facts)}
