"""One network, compressed once in each way."""

from __future__ import annotations

import pytest

from pipeline.compress.job import Compressed, CompressOptions, compress
from pipeline.contract import ImageContract, ImageSide
from tests.compress.packs import network

PICTURES = ImageContract(ImageSide("0..1"), ImageSide("0..1"))


@pytest.fixture(scope="package")
def model() -> bytes:
    return network().SerializeToString()


@pytest.fixture(scope="package")
def packed_network(model: bytes) -> Compressed:
    """int8, with the table of the other kinds."""
    return compress(model, CompressOptions("int8", table=True), contract=PICTURES)


@pytest.fixture(scope="package")
def auto_network(model: bytes) -> Compressed:
    return compress(model, CompressOptions("auto", min_psnr=40), contract=PICTURES)
