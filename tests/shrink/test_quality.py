"""PSNR, SSIM and the texture numbers, against what must hold of any such numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.shrink.quality import quality, ssim
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(REPOSITORY / "examples" / "picture.jpg").convert("RGB").crop((200, 100, 520, 340))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


def test_a_picture_is_itself(picture):
    stored = quality(array(picture), array(picture))
    assert (stored.psnr, stored.ssim, stored.detail, stored.texture) == (100.0, 1.0, 1.0, 0.0)


def test_psnr_is_what_the_formula_gives(picture):
    expected = array(picture) * 0.5
    assert quality(expected + np.float32(0.1), expected).psnr == pytest.approx(20.0, abs=1e-3)


def test_a_blur_keeps_its_psnr_and_loses_its_texture(picture):
    expected = array(picture)
    once, twice = (
        quality(array(picture.filter(ImageFilter.GaussianBlur(radius))), expected) for radius in (1.0, 3.0)
    )
    assert once.psnr > twice.psnr > 20
    assert 0.6 > once.detail > twice.detail
    assert 0.1 < once.texture < twice.texture


def test_texture_asks_what_a_picture_is_made_of_not_where_it_lies(picture):
    expected = array(picture)[:, :, 2:, 2:]
    moved = quality(array(picture)[:, :, :-2, :-2], expected)
    blurred = quality(array(picture.filter(ImageFilter.GaussianBlur(2)))[:, :, 2:, 2:], expected)
    assert moved.psnr < blurred.psnr
    assert moved.texture < blurred.texture / 2
    assert moved.detail == pytest.approx(1, abs=0.05)


def test_noise_is_more_detail_than_there_was(picture):
    expected = array(picture)
    noisy = expected + np.random.default_rng(0).normal(0, 0.05, expected.shape).astype(np.float32)
    assert quality(noisy, expected).detail > 1.2


def test_ssim_is_the_mean_of_the_formula_on_a_small_case():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 3, 11, 11), np.float32)
    luma = np.array([0.299, 0.587, 0.114])
    x, y = (np.tensordot(luma, v, 1) for v in (a, b))
    bell = np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)
    window = np.outer(bell, bell) / bell.sum() ** 2
    mx, my = (window * x).sum(), (window * y).sum()
    vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
    cov = (window * x * y).sum() - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(a, b) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 64, 32), (1, 1, 64, 64), (3, 64, 64)])
def test_what_cannot_be_measured_is_refused(shape):
    with pytest.raises(ValueError, match="two pictures"):
        quality(np.zeros(shape), np.zeros(shape))
