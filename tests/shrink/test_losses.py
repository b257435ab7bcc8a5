"""The losses: zero for the same, and that they ask what they say they ask."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from pipeline.shrink import losses


def noise(seed: int = 0, side: int = 96) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 255


def blurred(pictures: torch.Tensor) -> torch.Tensor:
    return f.avg_pool2d(f.pad(pictures, (2, 2, 2, 2), mode="reflect"), 5, 1)


def test_equal_pictures_cost_nothing():
    x = noise()
    assert losses.pixels(x, x) < 0.06  # the rounding of Charbonnier's absolute value
    assert all(float(part) == 0 for part in losses.Texture().loss(x, losses.Texture().statistics(x)))


def test_the_average_of_two_places_is_best_for_pixels_and_bad_for_texture():
    """Stripes that may lie in two places: grey between them has the least pixel error, and no texture."""
    stripes = (torch.arange(96) // 4 % 2 * 255.0).expand(1, 3, 96, 96)
    shifted, grey = 255 - stripes, torch.full_like(stripes, 127.5)
    texture = losses.Texture()

    def expected(painted, loss):
        return float(loss(painted, stripes) + loss(painted, shifted)) / 2

    def of_texture(a, b):
        return sum(texture.loss(a, texture.statistics(b)))

    assert expected(grey, losses.pixels) < expected(stripes, losses.pixels)
    assert expected(stripes, of_texture) < expected(grey, of_texture) / 2


def test_texture_sees_a_blur_and_hardly_a_shift():
    x = noise(side=128)
    texture = losses.Texture()
    energy, grams = texture.loss(x.roll(3, 3), texture.statistics(x))
    blurred_energy, blurred_grams = texture.loss(blurred(x), texture.statistics(x))
    assert energy < blurred_energy / 4
    assert grams < blurred_grams / 4


def test_the_filters_are_the_same_in_every_run_and_answer_no_flat_picture():
    a, b = losses.Texture(), losses.Texture()
    torch.manual_seed(99)
    assert torch.equal(a.filters, b.filters) and torch.equal(losses.Texture().filters, a.filters)
    assert max(float(seen.abs().max()) for seen in a(torch.full((1, 3, 64, 64), 200.0))) < 1e-4


def test_statistics_are_roots_of_mean_squares_in_overlapping_tiles_and_mean_products():
    features = torch.randn(2, 3, 40, 50, generator=torch.Generator().manual_seed(3))
    measured = losses.Statistics.of(features, 16)
    assert torch.allclose(measured.energies, torch.sqrt(f.avg_pool2d(features.square(), 16, 8) + 1e-4), atol=1e-6)
    assert torch.allclose(measured.gram, torch.einsum("nchw,ndhw->ncd", features, features) / 2000, atol=1e-5)
    small = losses.Statistics.of(features[..., :10], 16)
    assert tuple(small.energies.shape) == (2, 3, 4, 1)
    assert [float(part) for part in measured.differences(measured)] == [0, 0]


def test_a_clamp_that_leaks_keeps_gradients_outside():
    x = torch.tensor([-10.0, 100.0, 300.0], requires_grad=True)
    y = losses.leaky_clamp(x)
    y.sum().backward()
    assert torch.allclose(y, torch.tensor([-0.5, 100.0, 257.25]))
    assert torch.allclose(x.grad, torch.tensor([0.05, 1.0, 0.05]))


def test_the_teachers_eyes_see_its_convolutions_and_stop_there():
    ran = []
    last = nn.Conv2d(4, 3, 3)
    last.register_forward_hook(lambda *_: ran.append(1))
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 4, 3), last)
    eyes = losses.TeacherEyes(teacher, lambda levels: levels / 255)
    x = noise(side=32)
    seen = eyes(x)
    assert [v.shape[1] for v in seen] == [4, 5, 4] and not ran
    assert torch.allclose(seen[0], teacher[0](x / 255))
    assert [v.item() for v in eyes.loss(x, x)] == [0, 0]
    teacher(x / 255)  # and it still paints
    assert ran == [1]


def test_gradients_reach_the_painting_and_not_the_teacher():
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)).requires_grad_(False)
    x = noise(side=32).requires_grad_(True)
    sum(losses.TeacherEyes(teacher, lambda levels: levels / 255).loss(x, noise(1, 32))).backward()
    assert float(x.grad.abs().sum()) > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_the_critic_learns_whose_painting_it_is():
    torch.manual_seed(0)
    critic, x = losses.Critic(8), noise()
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    first = None
    for _ in range(30):
        loss = losses.critic_loss(critic, x, blurred(x), x)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < first / 2


def test_the_rate_rises_and_falls():
    rates = [losses.learning_rate(done) for done in (0, 0.03, 0.5, 1.0)]
    assert rates[0] < 0.1 and rates[1] == pytest.approx(1) and 0.4 < rates[2] < 0.6
    assert rates[3] == pytest.approx(0.01)


class Halving(nn.Module):
    """Convolutions of which the second halves and the last gives a picture."""

    def __init__(self, width: int, size: int = 3) -> None:
        super().__init__()
        pad = size // 2
        self.first, self.second = nn.Conv2d(3, width, size, 1, pad), nn.Conv2d(width, width, size, 2, pad)
        self.third, self.last = nn.Conv2d(width, width, size, 1, pad), nn.Conv2d(width, 3, size, 1, pad)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.third(f.relu(self.second(f.relu(self.first(x)))))
        return self.last(f.interpolate(y, scale_factor=2.0))


def test_hints_pair_the_first_convolution_of_each_stage_and_vanish_for_twins():
    torch.manual_seed(0)
    teacher, narrow, twin = Halving(6), Halving(4), Halving(6)
    twin.load_state_dict(teacher.state_dict())
    hints = losses.Hints(teacher, narrow, torch.device("cpu"))
    assert hints.pairs == [(teacher.first, narrow.first), (teacher.second, narrow.second)]
    assert [tuple(joint.weight.shape[:2]) for joint in hints.joints] == [(6, 4), (6, 4)]
    x = noise(side=32) / 255
    values = []
    for student in (narrow, twin):
        stored = losses.Hints(teacher, student, torch.device("cpu"))
        stored.listening = True
        student(x)
        values.append(stored.loss(x).item())
        assert not stored.listening
    assert values[0] > 0.3 and values[1] < 1e-5


def test_networks_of_other_stages_get_no_hints():
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 3, 3, 1, 1))
    assert losses.Hints(Halving(4), flat, torch.device("cpu")).pairs == []


def test_strokes_are_compared_by_their_direction_and_not_by_their_place():
    """Soft strokes of 24 pixels: others of the same direction are near, those that cross them are far."""

    def soft(down: int, across: int, seed: int) -> torch.Tensor:
        grain = torch.rand(1, 3, 192 // down, 192 // across, generator=torch.Generator().manual_seed(seed))
        return f.interpolate(grain, (192, 192), mode="bilinear") * 255

    strokes, others, crossing = soft(8, 48, 1), soft(8, 48, 2), soft(48, 8, 3)
    edges = losses.edges(strokes)
    assert float(losses.strokes(strokes, edges)) == 0
    flat = f.avg_pool2d(f.pad(strokes, (16,) * 4, mode="reflect"), 33, 1)
    near = float(losses.strokes(others, edges))
    assert near < 0.7 * float(losses.strokes(crossing, edges))
    assert near < 0.7 * float(losses.strokes(flat, edges))
    assert float(losses.strokes(strokes.roll((2, 2), (2, 3)), edges)) < 0.6 * near


def test_strokes_have_gradients_on_flat_pictures_and_in_small_ones():
    x = torch.full((1, 3, 48, 48), 100.0, requires_grad=True)
    losses.strokes(x, losses.edges(noise(side=48)[:1])).backward()
    assert bool(torch.isfinite(x.grad).all())
