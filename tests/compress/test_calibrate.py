"""Pictures to round with: drawn ones are pictures, always the same; one's own are used at several scales."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.compress.calibrate import PICTURES, drawn, moments, pictures
from pipeline.compress.sites import find_sites
from pipeline.graph import valid
from tests.compress.packs import initializers, network


def test_drawn_pictures_are_the_same_each_time_and_all_different():
    found = [drawn(number, 64, 96, 3) for number in range(3)]
    assert all(np.array_equal(picture, drawn(number, 64, 96, 3)) for number, picture in enumerate(found))
    assert not np.array_equal(found[0], found[1])
    for picture in found:
        assert picture.shape == (1, 3, 64, 96) and picture.dtype == np.float32
        assert np.abs(picture * 255 - np.rint(picture * 255)).max() < 1e-3
        assert picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0.1
    assert drawn(0, 64, 96, 1).shape == (1, 1, 64, 96)


def test_drawn_pictures_have_neighbours_that_are_alike_as_photographs_have():
    picture = np.concatenate([drawn(number, 96, 96, 3) for number in range(4)])
    step = np.abs(np.diff(picture, axis=3)).mean()
    assert step < 0.3 * np.abs(picture - picture[:, :, :, ::-1]).mean()


def test_ones_own_pictures_are_used_at_several_scales(tmp_path):
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "a.png")
    found = pictures([tmp_path / "a.png"], 32, 48, 3)
    assert len(found) == PICTURES and all(picture.shape == (1, 3, 32, 48) for picture in found)
    assert len({picture.tobytes() for picture in found}) == PICTURES
    assert len(pictures([tmp_path / "a.png"] * 6, 32, 48, 3)) == 6


def test_moments_are_about_the_mean_where_a_normalisation_takes_it_away():
    model = valid(network())
    sites = find_sites(model)
    picture = np.full((1, 3, 64, 64), 0.5, np.float32)
    found = moments(model, sites, initializers(model), [picture])
    assert set(found) == {site.weight for site in sites}
    # A flat picture has no variance but at its border, where padding begins.
    inside = 3 * 5 * 5 // 2
    assert found["conv1.weight"][0].diagonal[inside] < 0.02
    assert found["conv6.weight"][0].diagonal.max() > found["conv6.weight"][0].diagonal.min() >= 0
