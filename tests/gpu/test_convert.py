"""StyleTransferConvert.shader, run: colours, sizes, orientations, blend, and what is not a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.verify import look
from tests.gpu import reference, unity

SIZES = [(2, 2), (3, 5), (4, 4), (4, 6), (6, 4), (8, 12), (11, 7), (12, 12), (18, 30)]


def noise(height: int, width: int, highest: float = 1.0, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, highest, (height, width, 4)).astype(np.float32)


def to_network(picture: np.ndarray, size: tuple[int, int], linear: bool = False, **more: Any) -> np.ndarray:
    offset = (
        reference.tap_offset(picture.shape[1], size[1]),
        reference.tap_offset(picture.shape[0], size[0]),
        0,
        0,
    )
    return unity.draw("Convert", "To network", picture, size, _TapOffset=offset, _LinearProject=linear, **more)


def from_network(
    source: np.ndarray, stylized: np.ndarray, strength: float = 1.0, mask: np.ndarray | None = None, **more: Any
) -> np.ndarray:
    masked = {} if mask is None else {"_Mask": mask, "_Masked": 1.0}
    size = source.shape[:2]
    return unity.draw(
        "Convert", "From network", source, size, _Stylized=stylized, _Strength=strength, **masked, **more
    )


def test_the_same_size_in_a_gamma_project_changes_nothing() -> None:
    picture = noise(5, 7)
    drawn = to_network(picture, (5, 7))
    assert np.abs(drawn[..., :3] - picture[..., :3]).max() < 1e-6
    assert (drawn[..., 3] == 1).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_reducing_averages_every_texel_once(factor: int) -> None:
    picture = noise(4 * factor, 6 * factor)
    mean = picture.reshape(4, factor, 6, factor, 4).mean(axis=(1, 3))
    assert np.abs(to_network(picture, (4, 6))[..., :3] - mean[..., :3]).max() < 1e-6


def test_a_linear_project_reduces_in_linear_light_and_gives_srgb() -> None:
    picture = noise(8, 12)
    mean = picture.reshape(4, 2, 6, 2, 4).mean(axis=(1, 3))
    drawn = to_network(picture, (4, 6), linear=True)
    assert np.abs(drawn[..., :3] - reference.srgb_from_linear(mean[..., :3])).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("linear", [False, True])
def test_highlights_are_cut_before_any_average_at_every_size(size: tuple[int, int], linear: bool) -> None:
    picture = noise(12, 20)
    picture[np.random.default_rng(1).uniform(size=(12, 20)) < 0.2] *= 500
    expected = reference.shrunk(picture, size)
    drawn = to_network(picture, size, linear)[..., :3]
    assert np.abs(drawn - (reference.srgb_from_linear(expected) if linear else expected)).max() < 2e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65504.0])
@pytest.mark.parametrize("size", [(12, 20), (6, 10), (3, 5)])
def test_a_texel_that_is_not_a_number_stays_where_it_is(value: float, size: tuple[int, int]) -> None:
    picture = noise(12, 20)
    picture[5, 7, 1] = value
    drawn = to_network(picture, size)
    assert np.abs(drawn[..., :3] - reference.shrunk(picture, size)).max() < 2e-4


def test_the_colour_curves_are_those_of_the_standard() -> None:
    values = np.concatenate([np.linspace(0, 1, 256), [0.001, 0.0031308, 0.0031309, 0.04045, 0.04046]])
    picture = np.repeat(values[None, :, None], 4, axis=2).astype(np.float32)
    srgb = to_network(picture, (1, len(values)), linear=True)
    assert np.abs(srgb[0, :, 0] - reference.srgb_from_linear(values)).max() < 1e-5
    linear = from_network(picture, picture, _LinearProject=1.0)
    assert np.abs(linear[0, :, 0] - reference.linear_from_srgb(values)).max() < 1e-5
    again = from_network(srgb, srgb, _LinearProject=1.0)
    assert np.abs(again[0, :, 0] - values).max() < 1e-5


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("linear", [False, True])
def test_blending_keeps_alpha_and_the_cameras_highlights(strength: float, linear: bool) -> None:
    source, stylized = noise(4, 4, highest=3.0), noise(4, 4, seed=8)
    drawn = from_network(source, stylized, strength, _LinearProject=linear)
    shown = reference.linear_from_srgb(stylized[..., :3]) if linear else stylized[..., :3]
    expected = source[..., :3] * (1 - strength) + shown * strength
    assert np.abs(drawn[..., :3] - expected).max() < 2e-6 * 3
    assert (drawn[..., 3] == source[..., 3]).all()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_does_not_reach_the_screen(strength: float, value: float) -> None:
    source, stylized = noise(6, 6), noise(6, 6, seed=8)
    source[2, 3] = value
    drawn = from_network(source, stylized, strength)
    expected = reference.number(source[..., :3]) * (1 - strength) + stylized[..., :3] * strength
    assert (np.abs(drawn[..., :3] - expected) <= 1e-6 * np.maximum(1, np.abs(expected))).all()
    stylized[4, 1, 0] = value
    drawn = from_network(source, stylized, strength)
    assert np.isfinite(drawn).all()
    # The sampler reads the texels around it.
    assert (np.abs(drawn[..., :3] - expected) > 1e-2).any(axis=2).sum() <= 9


def test_the_mask_says_where() -> None:
    source, stylized, mask = noise(9, 5), noise(9, 5, seed=8), noise(9, 5, seed=9)
    drawn = from_network(source, stylized, 0.8, mask)
    share = 0.8 * mask[..., :1]
    assert np.abs(drawn[..., :3] - (source * (1 - share) + stylized * share)[..., :3]).max() < 1e-6


@pytest.mark.parametrize("inverted", [0.0, 1.0])
def test_the_mask_of_a_network_travels_as_alpha_of_the_styles_picture(inverted: float) -> None:
    source, stylized, mask = noise(12, 20), noise(6, 10, seed=8), noise(3, 5, seed=9)
    joined = unity.draw("Convert", "Join", stylized, (6, 10), _NetworkMask=mask, _InvertMask=inverted)
    assert (joined[..., :3] == stylized[..., :3]).all()
    expected = reference.bilinear(mask, *reference.coordinates((6, 10)))[..., 0]
    assert np.abs(joined[..., 3] - (1 - expected if inverted else expected)).max() < 1 / 128
    at = reference.coordinates((12, 20))
    shown = from_network(source, joined, 0.8, _NetworkMasked=1.0)
    share = 0.8 * reference.bilinear(joined, *at)[..., 3:]
    blended = source * (1 - share) + reference.bilinear(joined, *at) * share
    assert np.abs(shown - blended)[..., :3].max() < 1 / 64
    everywhere = from_network(source, joined, 0.8)
    assert np.abs(everywhere - shown).max() > 0.1
    mask[1, 2] = np.nan
    broken = unity.draw("Convert", "Join", stylized, (6, 10), _NetworkMask=mask, _InvertMask=inverted)
    assert np.isfinite(broken).all()


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(("strength", "keep"), [(1.0, 1.0), (0.7, 0.4), (1.0, 0.0), (0.0, 1.0)])
def test_own_colours_are_kept_as_python_shows_them(strength: float, keep: float, linear: bool) -> None:
    camera, stylized = noise(9, 14), noise(9, 14, seed=8)
    source = reference.linear_from_srgb(camera).astype(np.float32) if linear else camera
    drawn = from_network(source, stylized, strength, _KeepColors=keep, _LinearProject=linear)[..., :3]

    def planes(picture: np.ndarray) -> np.ndarray:
        return picture[None, ..., :3].transpose(0, 3, 1, 2)

    colored = look.shown(planes(camera), planes(stylized), 1.0, keep)[0].transpose(1, 2, 0)
    if linear:
        colored = reference.linear_from_srgb(colored)
    assert np.abs(drawn - (source[..., :3] * (1 - strength) + colored * strength)).max() < 1e-5


def test_own_colours_in_the_styles_brightness() -> None:
    camera, stylized = noise(9, 14), noise(9, 14, seed=8)
    camera[..., :3], stylized[..., :3] = camera[..., :3] * 0.2 + 0.4, stylized[..., :3] * 0.2 + 0.4
    kept = from_network(camera, stylized, 1.0, _KeepColors=1.0)[..., :3]
    luma = np.array(look.LUMA)
    assert np.abs(kept @ luma - stylized[..., :3] @ luma).max() < 1e-5
    for pair in ((0, 1), (1, 2)):
        difference = [item[..., pair[0]] - item[..., pair[1]] for item in (kept, camera)]
        assert np.abs(difference[0] - difference[1]).max() < 1e-5


def test_a_small_stylised_picture_is_enlarged_bilinearly() -> None:
    source, stylized = noise(8, 12), noise(4, 6, seed=8)
    expected = reference.bilinear(stylized, *reference.coordinates((8, 12)))
    # Samplers weigh in steps of 1/256.
    assert np.abs(from_network(source, stylized)[..., :3] - expected[..., :3]).max() < 1 / 128


def test_a_camera_picture_that_comes_upside_down_gives_the_same() -> None:
    source, stylized, mask = noise(8, 12), noise(8, 12, seed=8), noise(8, 12, seed=9)
    for size in ((8, 12), (4, 6), (3, 5)):
        upright = to_network(source, size)
        assert np.abs(to_network(source, size, flipped=True) - upright).max() < 2e-4
    upright = from_network(source, stylized, 0.7, mask)
    turned = from_network(source, stylized, 0.7, mask, flipped=True)
    assert np.abs(turned - upright).max() < 1e-6
    assert np.abs(upright - upright[::-1]).max() > 0.1


def test_these_tests_see_a_highlight_that_is_cut_too_late() -> None:
    text = unity.text_of("Convert")
    late = text.replace("return saturate(Number(_MainTex", "return (Number(_MainTex").replace(
        "return lerp(low, high, share.y);", "return saturate(lerp(low, high, share.y));"
    )
    assert late != text
    picture = noise(12, 20)
    picture[::5, ::3] *= 500
    good, bad = to_network(picture, (3, 5)), to_network(picture, (3, 5), text=late)
    assert np.abs(good - bad).max() > 0.1
