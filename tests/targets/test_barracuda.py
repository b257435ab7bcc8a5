"""Barracuda's files: the .meta of its importer, and its errors in the editor's log."""

from __future__ import annotations

import pytest

from pipeline import targets
from pipeline.targets.barracuda import packaging
from tests.unity.reading import mapping

GUID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("barracuda-1.0", "optimizeModel forceArbitraryBatchSize treatErrorsAsWarnings"),
        ("barracuda-2.0", "optimizeModel forceArbitraryBatchSize treatErrorsAsWarnings importMode"),
        (
            "barracuda-3.0",
            "optimizeModel forceArbitraryBatchSize treatErrorsAsWarnings importMode "
            "weightsTypeMode activationTypeMode",
        ),
    ],
)
def test_a_model_meta_has_the_fields_of_its_targets_importer(target, keys):
    importer = mapping(packaging.importer_meta(GUID, targets.get(target)))["ScriptedImporter"]
    assert list(importer)[6:] == ["script", *keys.split()]
    assert importer["script"] == {"fileID": "11500000", "guid": packaging.ONNX_IMPORTER, "type": "3"}


@pytest.mark.parametrize("target", ["barracuda-1.0", "barracuda-2.0", "barracuda-3.0"])
def test_a_model_meta_never_pins_the_id_of_the_model_object(target):
    assert b"fileIDToRecycleName" not in packaging.importer_meta(GUID, targets.get(target))
