"""How far moved pictures are from those that the network would have painted, on a pan over a photograph.

    python benchmarks/temporal.py

The example network paints 24 frames of a pan of 4.6 pixels per frame at 960x540. What the component shows with
Run Every Frames 4 (the last painted frame, as it was or moved by the motion vectors) is compared with the
frame's own painting; and painting every frame is compared from frame to frame along the motion, with and
without Stability 0.8. Means of absolute differences in levels of 255, over the pixels that both frames show.
Depth plays no part: nothing is uncovered but the borders.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "UnityProject/Assets/StyleTransfer/Models/Mosaic/Mosaic.onnx"
PICTURE = ROOT / "examples/picture.jpg"
HEIGHT, WIDTH = 540, 960
MOTION = np.array([4.3, 1.5])
EVERY, STABILITY, FRAMES, LEVELS = 4, 0.8, 24, 255


def sample(picture: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A HEIGHT x WIDTH part of a picture from (x, y) on, bilinear; and which of its pixels lie inside."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = columns + offset[0], rows + offset[1]
    height, width = picture.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(int), y.astype(int)
    right, low = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - right) + picture[top, left + 1] * right
    lower = picture[top + 1, left] * (1 - right) + picture[top + 1, left + 1] * right
    return upper * (1 - low) + lower * low, inside


def main() -> None:
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    photograph = np.asarray(Image.open(PICTURE).convert("RGB").resize((1120, 640)), np.float32) / LEVELS

    def paint(frame: int) -> np.ndarray:
        picture, _ = sample(photograph, 10 + MOTION * frame)
        return session.run(None, {name: picture.transpose(2, 0, 1)[None].astype(np.float32)})[0][0].transpose(
            1, 2, 0
        )

    def levels(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
        return float(np.abs(a - b)[where].mean() * LEVELS)

    stored, moved, flicker, steadied = [], [], [], []
    key = last = shown = paint(0)
    for frame in range(1, FRAMES):
        output = paint(frame)
        age = frame % EVERY
        if age == 0:
            key = output
        else:
            picture, inside = sample(key, MOTION * age)
            stored.append(levels(key, output, inside))
            moved.append(levels(picture, output, inside))

        before, inside = sample(last, MOTION)
        flicker.append(levels(output, before, inside))
        before, inside = sample(shown, MOTION)
        share = STABILITY * inside[..., None]
        shown = output * (1 - share) + before * share
        steadied.append(levels(shown, before, inside))
        last = output

    print(f"run every {EVERY} frames, held    {np.mean(stored):5.1f} levels from the frame's own painting")
    print(f"run every {EVERY} frames, moved   {np.mean(moved):5.1f}")
    print(f"every frame                {np.mean(flicker):5.1f} levels from frame to frame along the motion")
    # The first frames are still close to the beginning.
    print(f"every frame, stability {STABILITY} {np.mean(steadied[8:]):5.1f}")


if __name__ == "__main__":
    main()
