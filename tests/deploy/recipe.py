"""Follows the Dockerfile without a container engine: each stage a folder, each COPY and RUN as it stands there.

Left out is the installation of uv, which is here already. Stages that need root (users, volumes) are not followed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
HERE_ALREADY = "python -m pip install"  # uv


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)  # keyword, the rest of the line

    def last(self, keyword: str) -> str | None:
        return next((rest for word, rest in reversed(self.instructions) if word == keyword), None)


def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name, in its order."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        keyword, rest = line.split(maxsplit=1)
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = Stage(base)
        else:
            list(found.values())[-1].instructions.append((keyword, rest))
    return found


def setting(stage: str, keyword: str) -> list[str]:
    """The value of an instruction in exec form (ENTRYPOINT, CMD, VOLUME), from the stage or the nearest below it."""
    all_stages = stages()
    while stage in all_stages:
        value = all_stages[stage].last(keyword)
        if value is not None:
            return list(json.loads(value[value.index("[") :]))
        stage = all_stages[stage].base
    return []


class ImageBuilder:
    """Follows the recipe below a folder, with any Python."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder, self._stages = folder, stages()
        self._tools = folder / "tools-on-the-path"
        self._tools.mkdir(parents=True)
        for name, target in (("python", python), ("uv", str(Path(sys.executable).parent / "uv"))):
            (self._tools / name).symlink_to(target)

    def build(self, name: str) -> Path:
        """The folder that holds a stage's files, made together with all that the stage needs."""
        place = self._folder / name
        if place.exists():
            return place
        stage = self._stages[name]
        if stage.base in self._stages:
            shutil.copytree(self.build(stage.base), place, symlinks=True)
        (place / "build").mkdir(parents=True, exist_ok=True)
        for keyword, rest in stage.instructions:
            if keyword == "COPY":
                self._copy(place, rest)
            elif keyword == "RUN":
                self.follow(place, rest)
        return place

    def _copy(self, place: Path, rest: str) -> None:
        *names, target = rest.split()
        source = ROOT
        if names[0].startswith("--from="):
            source = self.build(names.pop(0).removeprefix("--from="))
        for name in names:
            item = source / name.lstrip("/")
            goal = place / "build" / target if not target.startswith("/") else place / target.lstrip("/")
            goal = goal / item.name if target.endswith("/") else goal
            if item.is_dir():
                shutil.copytree(item, goal, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(item, goal)

    def follow(self, place: Path, command: str) -> None:
        """One RUN, with the paths of the image below `place`."""
        parts = [part for part in command.split(" && ") if HERE_ALREADY not in part]
        line = re.sub(r"/(?:build|opt/processor|wheels)\b", lambda found: f"{place}{found[0]}", " && ".join(parts))
        environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        environment |= {"PATH": f"{self._tools}:{environment['PATH']}", "UV_PYTHON": str(self._tools / "python")}
        shell = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(shell, cwd=place / "build", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
