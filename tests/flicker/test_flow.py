"""Optical flow against movements that are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.flicker import flow
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    image = Image.open(REPOSITORY / "examples" / "picture.jpg").convert("RGB").crop((200, 0, 700, 400))
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 3), (-5, 2), (12, -17)])
def test_a_shift_is_found(picture, down, right):
    first, second = picture[:, :, 40:240, 40:360], picture[:, :, 40 - down : 240 - down, 40 - right : 360 - right]
    there, back = flow.flow(first, second), flow.flow(second, first)
    good = flow.reliable(there, back)
    assert good.mean() > 0.5
    miss = np.hypot(there[0] - down, there[1] - right)[good]
    assert np.median(miss) < 0.02 and miss.mean() < 0.2


def test_a_zoom_is_found(picture):
    rows, columns = np.mgrid[0:200, 0:320].astype(np.float32)
    known = np.stack([(rows - 99.5) * 0.03, (columns - 159.5) * 0.03])
    whole = picture[:, :, 40:240, 40:360]
    zoomed, _ = flow.warp(whole, known)
    there, back = flow.flow(zoomed, whole), flow.flow(whole, zoomed)
    good = flow.reliable(there, back)
    assert good.mean() > 0.5
    assert np.median(np.hypot(*(there - known))[good]) < 0.1


def test_what_was_not_there_before_is_not_relied_upon(picture):
    first, second = picture[:, :, 40:240, 40:360], picture[:, :, 40:240, 70:390]
    back, there = flow.flow(second, first), flow.flow(first, second)
    good = flow.reliable(back, there)
    assert good[:, -20:].mean() < 0.2 < 0.6 < good[20:-20, 60:-60].mean()


def test_warping_by_whole_pixels_copies_and_tells_what_lies_outside(picture):
    moved = np.stack([np.full(picture.shape[2:], 2.0), np.full(picture.shape[2:], -3.0)]).astype(np.float32)
    warped, inside = flow.warp(picture, moved)
    assert np.array_equal(warped[:, :, :-2, 3:], picture[:, :, 2:, :-3])
    assert inside[:-2, 3:].all() and not inside[-2:].any() and not inside[:, :3].any()


def test_half_a_pixel_is_the_average_of_two(picture):
    warped, _ = flow.warp(picture, np.stack([np.zeros(picture.shape[2:]), np.full(picture.shape[2:], 0.5)]))
    assert np.abs(warped[..., :-1] - (picture[..., :-1] + picture[..., 1:]) / 2).max() < 1e-6
