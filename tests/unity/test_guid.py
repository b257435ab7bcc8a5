from __future__ import annotations

import re

import pytest
import yaml

from pipeline.targets.barracuda.packaging import NN_MODEL
from pipeline.unity import guid as ids
from pipeline.unity.guid import file_id, guid, local_id, reference


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("StyleTransfer", "8ebf014dee8cb4654842c03716da1624"),
        ("StyleTransfer/Runtime/StyleTransferModel.cs", "d8cb9b6b365f37f10b6be610a58b6be4"),
        ("StyleTransfer/Runtime/Shaders/StyleTransferConvert.shader", "b7310c89840423320b8b39439d57ca90"),
        ("StyleTransfer/Models/Mosaic/Mosaic.onnx", "8adf94cbddb4687cca31a703f3cdd20d"),
        ("StyleTransfer/Models/Mosaic/Mosaic.asset", "af10b1e43f183139254719e32aa03702"),
        ("StyleTransfer/Models/Mosaic/MosaicStyleTransfer.cs", "e484e134e1e218f45b52a7b4bbfc1e9d"),
    ],
)
def test_a_guid_is_the_same_in_every_version_of_the_pipeline(name: str, value: str) -> None:
    """Scenes of users hold these values: a change here is a change that breaks their scenes."""
    assert guid(name) == value


def test_names_have_guids_of_their_own_in_the_form_of_unity() -> None:
    values = [guid(f"StyleTransfer/Models/Model{number}") for number in range(2000)]
    assert len(set(values)) == 2000
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in values)
    assert all(isinstance(yaml.safe_load(value), str) for value in values)


@pytest.mark.parametrize("number", ["1" * 32, "1" * 20 + "e" + "2" * 11])
def test_a_guid_that_reads_as_a_number_is_hashed_again(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Digest:
        def __init__(self, data: bytes) -> None:
            self.value = "a" * 64 if data.endswith(b"#1") else number + "0" * 32

        def hexdigest(self) -> str:
            return self.value

    monkeypatch.setattr("pipeline.unity.guid.hashlib.sha256", Digest)
    assert guid("anything") == "a" * 32


@pytest.mark.parametrize(
    ("type_name", "identifier", "value"),
    [
        ("MonoBehaviour", "main obj", 5022602860645237092),
        ("MonoBehaviour", "model data", 3266892420502746538),
        ("Shader", "MainAsset", -6465566751694194690),
        ("Material", "Material", -876546973899608171),
        ("MonoBehaviour", "<root>", -944628639613478452),
        ("MonoBehaviour", "tree", 9197481963319205126),
    ],
)
def test_file_ids_are_those_of_real_projects(type_name: str, identifier: str, value: int) -> None:
    """Ids found in scenes of public projects (shared/unity/formats.md, section 2)."""
    assert file_id(type_name, identifier) == value


def test_local_ids_are_positive_and_fit_a_signed_64_bit_number() -> None:
    values = {local_id(f"prefab#{number}") for number in range(1000)}
    assert len(values) == 1000
    assert all(0 < value < 1 << 63 for value in values)


def test_a_reference_is_written_as_unity_writes_it() -> None:
    written = reference(NN_MODEL, "0123456789abcdef0123456789abcdef", ids.IMPORTED)
    assert written == "{fileID: 5022602860645237092, guid: 0123456789abcdef0123456789abcdef, type: 3}"
