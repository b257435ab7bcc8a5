"""The files that a training writes: the network, and its run folder with the report. Imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.shrink import students
from pipeline.shrink.checkpoint import CHECKPOINT, check_free
from pipeline.support.files import write_file
from pipeline.support.serialise import render_json


class Output:
    """The files of one training. Of the processes that `torchrun` starts, only the first writes.

    `run` is the folder for checkpoint, samples and history.json; None is FILE.run.
    Raises PipelineError: nothing-to-resume, file-exists, and where neither can be written.
    """

    def __init__(self, file: Path, run: Path | None, resume: bool, force: bool) -> None:
        self.file, self.folder = file, run or Path(f"{file}.run")
        self.first = os.environ.get("RANK", "0") == "0"
        check_free(file, [self.folder / CHECKPOINT], resume, force or not self.first)

    def write(
        self, module: nn.Module, student: students.Student, history: dict[str, Any], **facts: Any
    ) -> dict[str, Any]:
        """Write the trained network and the report; returns the report."""
        report = {
            "schema": 1,
            **facts,
            "student": {
                "file": str(self.file),
                "architecture": student.architecture,
                "spec": student.spec,
                "weights": student.weights,
            },
            "history": history,
        }
        if self.first:
            students.save(module, student.architecture, self.file)
            write_file(self.folder / "history.json", render_json(report))
        return report
