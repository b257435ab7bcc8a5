"""One network, compressed once in each way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.compress import running
from pipeline.compress.job import Compressed, CompressOptions, compress
from pipeline.contract import ImageContract, ImageSide
from pipeline.support.size import Size
from tests.compress.packs import network

SMALL_PICTURES = {"SIZES": (Size(96, 96),), "WIDE": Size(192, 128)}
"""What pictures of the real sizes show of real networks, small ones show of small networks in less time."""

PICTURES = ImageContract(ImageSide("0..1"), ImageSide("0..1"))


@pytest.fixture(scope="package", autouse=True)
def small_pictures() -> Iterator[None]:
    stored = {name: getattr(running, name) for name in SMALL_PICTURES}
    for name, value in SMALL_PICTURES.items():
        setattr(running, name, value)
    yield
    for name, value in stored.items():
        setattr(running, name, value)


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
