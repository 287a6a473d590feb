"""Both images as environments on this machine, made by the Dockerfile's own commands, once for a test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.recipe import ImageBuilder


@dataclass(frozen=True)
class Environment:
    """What an image has at /opt/processor."""

    place: Path

    @property
    def python(self) -> Path:
        return self.place / "bin" / "python"

    @property
    def program(self) -> Path:
        return self.place / "bin" / "processor"

    def run(self, *command: str | Path, directory: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command without anything of this process' own environment in it."""
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "TF_"))
        }
        done = subprocess.run(list(map(str, command)), cwd=directory, env=own, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageBuilder]:
    """PACKAGING_PYTHON: another Python than this one, the image's own version say."""
    folder = tmp_path_factory.mktemp("images")
    yield ImageBuilder(folder, os.environ.get("PACKAGING_PYTHON", sys.executable))
    shutil.rmtree(folder)  # TensorFlow is large


@pytest.fixture(scope="session")
def runtime(images: ImageBuilder) -> Environment:
    return Environment(images.build("runtime-environment") / "opt/processor")


@pytest.fixture(scope="session")
def converter(images: ImageBuilder) -> Environment:
    return Environment(images.build("converter-environment") / "opt/processor")


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import processor
    from model.models import fixed_model
    from model.quick import short_certificate

    directory = tmp_path_factory.mktemp("artifacts") / "model"
    with short_certificate():
        processor.convert(fixed_model(), directory)
    return directory
