"""Three trained models of other people's: the sleep stages of a night from its heartbeats (package sleepecg, BSD-3).

Masking and two Bidirectional GRU: a stage is decided with the rest of the night, which is refused in `carry`. In
`tumbling` and `window` the model runs whole, on the epochs that there are.
"""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import sleepecg

import processor
from model import models  # noqa: F401  it quietens TensorFlow
from processor.model.convert import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSIFIERS = Path(sleepecg.__file__).parent / "classifiers"
EPOCHS = 5
MISSING = -1  # what the models' Masking leaves out
NAMES = ("wrn-gru-mesa", "wrn-gru-mesa-weighted", "ws-gru-mesa")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models, as the package's archives hold them."""
    folder = tmp_path_factory.mktemp("sleepecg")
    for name in NAMES:
        with zipfile.ZipFile(CLASSIFIERS / f"{name}.zip") as archive:
            archive.extract("classifier.keras", folder / name)
    return {name: folder / name / "classifier.keras" for name in NAMES}


@pytest.fixture(scope="module")
def night() -> NDArray[Any]:
    """What the package makes of the heart in its electrocardiogram: [1, epochs, features]. One epoch is missing."""
    ecg, rate = sleepecg.get_toy_ecg()
    intervals = np.diff(sleepecg.detect_heartbeats(ecg, rate) / rate).clip(0.4, 1.8)
    record = sleepecg.SleepRecord(
        sleep_stage_duration=30,
        recording_start_time=datetime.time(22, 30),
        heartbeat_times=np.cumsum(np.tile(intervals, 4)),  # five minutes, four times over
        subject_data=sleepecg.io.sleep_readers.SubjectData(gender=1, age=40),
    )
    wanted = ["hrv-time", "hrv-frequency", "recording_start_time", "age", "gender"]
    features = sleepecg.extract_features(
        [record], lookback=120, lookforward=150, feature_selection=wanted, min_rri=0.3, max_rri=2, max_nans=0.5
    )[0][0]
    x = np.where(np.isfinite(features), features, MISSING).astype(np.float32)[None, 12 : 12 + EPOCHS]
    x[:, 3] = MISSING
    return x


@pytest.mark.parametrize("name", NAMES)
def test_carry_is_refused_for_the_rest_of_the_night(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(files[name], tmp_path / "a", mode="carry")
    assert caught.value.reason is Obstacle.NEEDS_FUTURE
    assert "bidirectional" in caught.value.layer
    assert not (tmp_path / "a").exists()


@pytest.mark.filterwarnings("ignore:HR analysis window too short")
@pytest.mark.parametrize(("name", "mode"), [("wrn-gru-mesa", "tumbling"), ("ws-gru-mesa", "window")])
def test_the_modes_that_run_it_whole(
    name: str, mode: str, files: dict[str, Path], night: NDArray[Any], tmp_path: Path
) -> None:
    """Exact at the last epoch of a night (tumbling), and at each epoch once there are as many (window)."""
    processor.convert(files[name], tmp_path / "a", mode=mode, length=EPOCHS)
    model = keras.models.load_model(files[name])
    x = night if mode == "tumbling" else np.concatenate([night, night[:, :3] * 1.5], axis=1)
    got = np.asarray(processor.load(tmp_path / "a").run(x))
    for end in range(EPOCHS, x.shape[1] + 1):
        truth = np.asarray(model(x[:, end - EPOCHS : end]))[:, -1]
        np.testing.assert_allclose(got[:, end - 1], truth, atol=1e-5)
