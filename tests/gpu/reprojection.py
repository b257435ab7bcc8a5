"""Reprojection.cs once more: the order of StyleTransferMotion.shader's passes and the textures between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.gpu import unity


@dataclass
class Reprojection:
    """Histories at one size, fed frame by frame, as `StyleTransferEffect` does it.

    `source` is the pass that reads the camera's textures; `names` are theirs, motion first. What was never drawn
    holds `rubbish`: new textures hold anything.
    """

    size: tuple[int, int]
    eye_depth: tuple[float, float, float, float]
    source: str = "Frame, built-in pipeline"
    names: tuple[str, str] = ("_CameraMotionVectorsTexture", "_CameraDepthTexture")
    rubbish: float = np.nan
    flipped: bool = False
    frames_known: int = 0
    moved_at: int = 0
    knows_shown: bool = False
    knows_taken: bool = False
    textures: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("frame", "frame_before", "shown", "taken", "moved", "moved_before"):
            self.textures[name] = np.full((*self.size, 4), self.rubbish, np.float32)

    def update(self, motion: np.ndarray, depth: np.ndarray) -> None:
        """Adds a frame's motion vectors (height x width x 2) and raw depth (height x width)."""
        stored = self.textures
        stored["frame_before"] = stored["frame"]
        self.frames_known += 1
        pictures = np.zeros((2, *depth.shape, 4), np.float32)
        pictures[0, ..., :2] = motion
        pictures[1] = depth[..., None]
        read = {name: unity.nearest(picture) for name, picture in zip(self.names, pictures, strict=True)}
        stored["frame"] = unity.draw(
            "Motion", self.source, pictures[0], self.size, self.flipped, _EyeDepth=self.eye_depth, **read
        )
        for name, known in (("shown", self.knows_shown), ("taken", self.knows_taken)):
            if known:
                frame = unity.nearest(stored["frame"])
                stored[name] = unity.draw(
                    "Motion", "Accumulate", stored[name], self.size, point=True, _Frame=frame
                )

    def begin(self) -> None:
        """The network's next picture is being taken."""
        frame = self.textures["frame"]
        self.textures["taken"] = unity.draw("Motion", "Begin", frame, self.size, _Frame=unity.nearest(frame))
        self.knows_taken = True

    def finish(self) -> None:
        """The network has finished that picture."""
        stored = self.textures
        stored["shown"], stored["taken"] = stored["taken"], stored["shown"]
        self.knows_shown, self.knows_taken = self.knows_taken, False

    def move(self, picture: np.ndarray, camera: np.ndarray, stability: float = 0.0) -> np.ndarray:
        """The network's picture where its objects are now; `camera` is the camera's at their size."""
        stored = self.textures
        knows_before = self.frames_known > 1 and self.moved_at == self.frames_known - 1
        self.moved_at = self.frames_known
        stored["moved_before"] = stored["moved"]
        stored["moved"] = unity.draw(
            "Motion",
            "Move",
            picture,
            self.size,
            _Frame=unity.nearest(stored["frame"]),
            _FrameBefore=unity.nearest(stored["frame_before"]),
            _History=unity.nearest(stored["shown"]),
            _Camera=camera,
            _Before=stored["moved_before"],
            _Stability=stability if knows_before else 0.0,
        )
        return stored["moved"]

    def forget(self) -> None:
        """After a cut."""
        self.knows_shown = self.knows_taken = False
        self.frames_known = self.moved_at = 0

    @property
    def known(self) -> np.ndarray:
        """Where the shown picture is said to show what is there now."""
        return self.textures["shown"][..., 3] > 0.5
