"""Draws flicker: strips of frames, and charts of the errors. Needs only Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.flicker.flow import warp
from pipeline.flicker.measure import Clip, Stability

SHOWN = 4
"""Number of consecutive frames in a strip."""
AMPLIFIED = 4
"""Factor by which differences are amplified."""
WIDTH = 240
"""Width of a frame in a strip, in pixels."""
COLOURS = ("#888888", "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b")
"""Colours of the lines; the first one is for the frames themselves."""


def strip(clip: Clip, results: Sequence[Stability]) -> bytes:
    """A PNG with a row for each model: consecutive outputs, the last change beyond the motion, amplified, and one
    column of pixels over all frames (time runs to the right: a steady style gives continuous lines).
    """
    height = round(WIDTH * clip.frames[0].shape[2] / clip.frames[0].shape[3])
    label, gap = 16, 4
    count = min(SHOWN, len(clip.frames))
    sheet = Image.new("RGB", ((count + 2) * (WIDTH + gap), len(results) * (height + label + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, model in enumerate(results):
        top = row * (height + label + gap)
        errors = model.errors[clip.name]
        draw.text(
            (2, top + 2), f"{model.name}: {sum(errors) / len(errors):.2f} levels ({clip.name})", fill="black"
        )
        draw.text((count * (WIDTH + gap), top + 2), f"change x{AMPLIFIED}", fill="black")
        draw.text(((count + 1) * (WIDTH + gap), top + 2), "one column over time", fill="black")
        paintings = model.paintings[clip.name]
        tiles = [_image(painting) for painting in paintings[:count]]
        step = clip.steps[count - 2]
        moved, inside = warp(paintings[step.first], step.moved)
        change = np.abs(moved - paintings[step.first + 1]) * (inside & step.shown) * AMPLIFIED
        tiles.append(_image(np.clip(change, 0, 1)))
        middle = paintings[0].shape[3] // 2
        over_time = np.concatenate([painting[:, :, :, middle : middle + 1] for painting in paintings], 3)
        tiles.append(_image(over_time))
        for column, tile in enumerate(tiles):
            method = Image.Resampling.NEAREST if column > count else Image.Resampling.LANCZOS
            sheet.paste(tile.resize((WIDTH, height), method), (column * (WIDTH + gap), top + label))
    return _png(sheet)


def plot(clips: Sequence[Clip], results: Sequence[Stability]) -> bytes:
    """A PNG with a chart for each clip: the error of each step, one line for each model."""
    width, height, left, bottom, top = 420, 260, 44, 28, 24
    legend = 18 * len(results) + 12
    sheet = Image.new("RGB", (width * len(clips), height + legend), "white")
    draw = ImageDraw.Draw(sheet)
    most = max(max(model.errors[clip.name]) for model in results for clip in clips) * 1.05 or 1.0
    for place, clip in enumerate(clips):
        x0, x1 = place * width + left, (place + 1) * width - 12
        y0, y1 = height - bottom, top
        draw.text((x0, 4), f"{clip.name}: warping error in levels of 255", fill="black")
        for part in range(5):
            y = y0 + (y1 - y0) * part / 4
            draw.line((x0, y, x1, y), fill="#dddddd")
            draw.text((place * width + 4, y - 6), f"{most * part / 4:.1f}", fill="black")
        draw.text((x0, height - bottom + 6), "frame 1", fill="black")
        draw.text((x1 - 50, height - bottom + 6), f"frame {len(clip.frames)}", fill="black")
        for index, model in enumerate(results):
            values = model.errors[clip.name]
            points = [
                (x0 + (x1 - x0) * i / max(len(values) - 1, 1), y0 + (y1 - y0) * value / most)
                for i, value in enumerate(values)
            ]
            colour = COLOURS[index % len(COLOURS)]
            if len(points) > 1:
                draw.line(points, fill=colour, width=2)
            for x, y in points:
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    for index, model in enumerate(results):
        y = height + 6 + 18 * index
        draw.line((left, y + 6, left + 24, y + 6), fill=COLOURS[index % len(COLOURS)], width=3)
        draw.text((left + 32, y), f"{model.name}: {model.flicker:.2f} on average", fill="black")
    return _png(sheet)


def _image(painting: np.ndarray) -> Image.Image:
    levels = np.rint(np.clip(painting[0], 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
