"""The C# reader of packed models, run under mono: the same bytes as Python's, and no damage gets past it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.compress.job import CompressOptions, compress
from pipeline.compress.packed import unpack
from pipeline.support.errors import PipelineError
from tests.compress.packs import mixed, network
from tests.csharp.conftest import (
    ENGINES,
    Assemblies,
    Engine,
    EngineAssemblies,
    build_engine,
    build_package,
    build_unity,
    with_engine,
)
from tests.csharp.toolchain import STUBS, UNITY_DEFINES, must_compile, run, sources_of

BARRACUDA = [engine for engine in ENGINES if engine.name == "barracuda"]
SOURCE = Path(__file__).with_name("Unpack.cs")
REPORTED = ("ok", "refused", "broken")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader and the importer, compiled for Barracuda 3.0 as a player has them."""
    folder = tmp_path_factory.mktemp("packed")
    build_unity(folder)
    result = EngineAssemblies(folder, BARRACUDA[-1])
    defines = [name for name in UNITY_DEFINES if name != "UNITY_EDITOR"]
    must_compile(result.runtime, sources_of("Runtime"), [result.unity], defines)
    build_package(result)
    build_engine(result)
    references = [result.unity, *result.package, build_onnx_package(result), result.runtime, result.own]
    onnx = result.library("StyleTransfer.Barracuda.Onnx")
    must_compile(onnx, sources_of("Engines/Barracuda/Onnx"), references, (*defines, *result.engine.defines))
    return must_compile(folder / "Unpack.exe", [SOURCE], [*references, onnx])


def build_onnx_package(made: EngineAssemblies) -> Path:
    """The stand-in for the assembly that imports .onnx files, which Barracuda has from 2.0 on."""
    library = made.library("Unity.Barracuda.ONNX")
    return must_compile(library, [STUBS / "BarracudaOnnx.cs"], [*made.package, made.unity])


@pytest.mark.parametrize("engine", BARRACUDA[1:], ids=str)
def test_the_importer_compiles_in_the_editor_too(engine: Engine, shared: Assemblies, tmp_path: Path) -> None:
    result = with_engine(shared, engine, tmp_path)
    references = [
        result.unity,
        result.library("UnityEditor"),
        *result.package,
        build_onnx_package(result),
        result.runtime,
        result.own,
    ]
    library = result.library("StyleTransfer.Barracuda.Onnx")
    must_compile(library, sources_of("Engines/Barracuda/Onnx"), references, (*UNITY_DEFINES, *engine.defines))


def unpack_all(program: Path, folder: Path, packed: list[bytes]) -> list[tuple[str, str, bytes | None]]:
    """For each file: ok, refused or broken; the message; the model."""
    lines = []
    for number, data in enumerate(packed):
        (folder / f"{number}.bytes").write_bytes(data)
        lines.append(f"{folder / f'{number}.bytes'}\t{folder / f'{number}.model'}\n")
    done = run("mono", program, stdin="".join(lines))
    assert done.returncode == 0, done.stdout + done.stderr
    found = []
    for number, line in enumerate(done.stdout.splitlines()):
        outcome, _, message = line.partition("\t")
        model = folder / f"{number}.model"
        found.append((outcome, message, model.read_bytes() if model.exists() else None))
    assert len(found) == len(packed) and all(outcome in REPORTED for outcome, _, _ in found)
    return found


def test_csharp_and_python_rebuild_the_same_bytes(program: Path, tmp_path: Path) -> None:
    models = [mixed(seed) for seed in range(5)]
    found = unpack_all(program, tmp_path, [packed for _, packed in models])
    assert [model for _, _, model in found] == [model for model, _ in models]
    assert [unpack(packed).model for _, packed in models] == [model for model, _ in models]


def test_csharp_rebuilds_networks_as_the_pipeline_packs_them(program: Path, tmp_path: Path) -> None:
    model = network(channels=4).SerializeToString()
    result = [compress(model, CompressOptions(kind)) for kind in ("int8", "int4", "half")]
    found = unpack_all(program, tmp_path, [one.packed for one in result])
    assert [rebuilt for _, _, rebuilt in found] == [one.model for one in result]


def damaged(packed: bytes) -> list[bytes]:
    """Truncations, flipped bits, lost and doubled pieces, foreign files."""
    rng = np.random.default_rng(1)
    found = [packed[:size] for size in (0, 1, 3, 4, 20, 35, 36, 37, *rng.integers(38, len(packed), 30))]
    for place in (*range(36), *rng.integers(36, len(packed), 100)):
        flipped = bytearray(packed)
        flipped[place] ^= 1 << int(rng.integers(8))
        found.append(bytes(flipped))
    middle = len(packed) // 2
    found += [packed + b"\0", packed + packed, packed[:middle] + packed[middle + 4 :], b"\0" * 4000]
    return [*found, b"STPK" + b"\xff" * 100]


def with_right_checksums(packed: bytes) -> list[bytes]:
    """Damage that the outer checksum does not show: who made it has computed it anew."""
    import struct
    import zlib

    rng = np.random.default_rng(2)
    found = []
    for place in (*range(8, 32), *rng.integers(36, len(packed), 150)):
        flipped = bytearray(packed)
        flipped[place] ^= 1 << int(rng.integers(8))
        crc = zlib.crc32(bytes(flipped[36:]), zlib.crc32(bytes(flipped[:32])))
        found.append(bytes(flipped[:32]) + struct.pack("<I", crc) + bytes(flipped[36:]))
    return found


@pytest.mark.parametrize("damage", [damaged, with_right_checksums])
def test_damage_is_an_exception_with_a_message_in_both_languages(program: Path, tmp_path: Path, damage) -> None:
    files = damage(mixed()[1])
    assert len(files) > 140
    found = unpack_all(program, tmp_path, files)
    assert [entry for entry in found if entry[0] != "refused"] == []
    assert all("packed model" in message and len(message) > 30 for _, message, _ in found)
    for data in files:
        with pytest.raises(PipelineError):
            unpack(data)


def test_the_importer_registers_itself_before_the_first_scene(program: Path, tmp_path: Path) -> None:
    model, packed = mixed()
    (tmp_path / "a.bytes").write_bytes(packed)
    done = run("mono", program, "register", tmp_path / "a.bytes")
    assert done.stdout.split() == ["BarracudaOnnxImporter", str(len(model)), "True"], done.stderr
