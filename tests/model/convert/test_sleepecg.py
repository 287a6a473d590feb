"""Three trained models of other people's: the sleep stages of a night from its heartbeats (package sleepecg, BSD-3).

Masking and two Bidirectional GRU: a stage is decided with the rest of the night, which is refused in `carry`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import sleepecg

import processor
from model import models  # noqa: F401  it quietens TensorFlow
from processor.model.convert import ConversionRefused, Obstacle

CLASSIFIERS = Path(sleepecg.__file__).parent / "classifiers"
NAMES = ("wrn-gru-mesa", "wrn-gru-mesa-weighted", "ws-gru-mesa")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models, as the package's archives hold them."""
    folder = tmp_path_factory.mktemp("sleepecg")
    for name in NAMES:
        with zipfile.ZipFile(CLASSIFIERS / f"{name}.zip") as archive:
            archive.extract("classifier.keras", folder / name)
    return {name: folder / name / "classifier.keras" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_carry_is_refused_for_the_rest_of_the_night(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(files[name], tmp_path / "a", mode="carry")
    assert caught.value.reason is Obstacle.NEEDS_FUTURE
    assert "bidirectional" in caught.value.layer
    assert not (tmp_path / "a").exists()
