"""Where an outputs folder was made: processor, system, versions of what computes and draws."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from remem import metrics, paths, runs

PACKAGES = ("numpy", "pandas", "scipy", "torch", "transformers", "peft", "matplotlib")


class Machine(runs.Spec):
    """What numbers may hang on, by their last digits: nothing that names a person or a computer."""

    processor: str = ""
    cores: int | None = None
    system: str = ""
    versions: Mapping[str, str] = Field(default_factory=dict)

    def unlike(self, other: Machine) -> list[str]:
        """What differs, in words: "torch 2.13.0 (other: 2.12.1)"."""
        both = dict.fromkeys([*self.versions, *other.versions])
        pairs = {"processor": (self.processor, other.processor)}
        pairs |= {"system": (self.system, other.system)}
        pairs |= {
            name: (self.versions.get(name, ""), other.versions.get(name, "")) for name in both
        }
        return [
            f"{name} {mine or 'not known'} (reference: {theirs or 'not known'})"
            for name, (mine, theirs) in pairs.items()
            if mine != theirs
        ]


def here() -> Machine:
    """This one."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions |= {f"metric {name}": str(version) for name, version in metrics.VERSIONS.items()}
    return Machine(
        processor=_processor(),
        cores=os.cpu_count(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )


def keep(folders: paths.Folders) -> Machine:
    """Write machine.json of an outputs folder: what was last run into it was run here."""
    found = here()
    paths.write(folders.machine, runs.as_json(found.model_dump(mode="json")))
    return found


def known(folders: paths.Folders) -> Machine | None:
    """What machine.json says; None where it is not there, or says nothing."""
    try:
        return Machine.model_validate_json(folders.machine.read_bytes())
    except (OSError, ValueError):
        return None


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text("utf-8", errors="replace") if file.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()
