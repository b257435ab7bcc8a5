"""Package versions in the order in which Unity's package manager puts them: semantic versioning 2.0."""

from __future__ import annotations

import re

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")

Order = tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]


def order(version: str) -> Order:
    """A sort key: "1.6.0-pre.1" < "1.6.0" < "2.1.3". Raises ValueError if `version` is not such a version.

    A pre-release comes before its release; its parts compare as numbers if both are numbers, and numbers come
    before words (https://semver.org, rule 11). Build metadata behind a plus sign has no influence.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"{version!r} is not a version such as 2.1.3 or 1.6.0-pre.1")
    major, minor, patch, pre = found.groups()
    parts = tuple(
        (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in (pre or "").split(".") if pre
    )
    return (int(major), int(minor), int(patch)), pre is None, parts
