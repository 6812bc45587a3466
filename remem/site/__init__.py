"""The small static site of an outputs folder: no server, no request to anywhere."""

from __future__ import annotations

from pathlib import Path

from remem import paths


def build(folders: paths.Folders, since: float = 0.0) -> Path:
    """See pages.build, whose libraries are loaded when it is used."""
    from remem.site import pages

    return pages.build(folders, since)
