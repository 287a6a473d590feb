"""docs/voice.md as it stands: Silero VAD stepped frame by frame, held against its makers' own ONNX, and served."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speech
from model import models  # noqa: F401  it quietens TensorFlow
from processor.kafka.client import Producer
from recovery.deployment import PARTITIONS, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.trial.kafka import EmbeddedKafka

pytestmark = pytest.mark.conversions
PAGE = Path(__file__).parents[2] / "docs" / "voice.md"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def package() -> Path:
    """The files of the package; its code would need PyTorch."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        why = "silero-vad is missing: `make` installs it, from tests/files-only.txt"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(f"NO VOICE, NOTHING SHOWN: {why}")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def sound() -> tuple[NDArray[Any], NDArray[Any]]:
    return speech.speech(6)


@pytest.fixture(scope="module")
def page(package: Path, sound: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's lines make, one block after the other; `folder`: where it ran."""
    names: dict[str, Any] = {"audio": sound[0], "folder": tmp_path_factory.mktemp("voice")}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(names["folder"])
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def makers(package: Path, sound: Any) -> NDArray[Any]:
    """What the makers' own file says of the whole sound at once, by frame."""
    import onnxruntime

    frames = framed(sound[0])
    ahead = np.concatenate([np.zeros((1, 64), np.float32), frames[:-1, -64:]])
    nothing = np.zeros((1, 1, 128), np.float32)
    file = package / "data" / "silero_vad_16k_sequence.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    given = {"input": np.concatenate([ahead, frames], axis=1), "h": nothing, "c": nothing}
    (probabilities,) = session.run(["speech_probs"], given)
    return np.ravel(probabilities)


def framed(audio: NDArray[Any]) -> NDArray[Any]:
    return audio[: len(audio) // 512 * 512].reshape(-1, 512)


def test_each_frame_is_what_the_makers_say(page: dict[str, Any], makers: NDArray[Any], sound: Any) -> None:
    np.testing.assert_allclose(page["heard"], makers, atol=TOLERANCE)
    np.testing.assert_allclose(np.ravel(page["model"](framed(sound[0])[None])), makers, atol=TOLERANCE)
    # It hears who speaks: the sound is no noise to it.
    speaks = framed(sound[1].astype(np.float32)).mean(axis=1) > 0.5
    assert np.median(makers[speaks]) > 0.8
    assert np.median(makers[~speaks]) < 0.1


def test_two_calls_are_served(
    page: dict[str, Any],
    makers: NDArray[Any],
    sound: Any,
    kafka: EmbeddedKafka,
    topic: Callable[..., str],
    name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """One event a frame, a state for each call: one call begins late and ends early, in the middle of the other."""
    deployment = Deployment(
        kafka, page["folder"] / "voice", topic("frames", partitions=PARTITIONS), name("voice"), tmp_path
    )
    frames = framed(sound[0])
    # Without idempotence, a batch that is sent again may land behind a later one: frames out of order.
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True})
    for at in range(len(frames)):
        for call, start, end in (("call-a", 0, len(frames)), ("call-b", 30, 90)):
            if start <= at < end:
                event = {"features": frames[at - start].tolist(), "end": at == end - 1}
                producer.produce(deployment.input, json.dumps(event), call)
        producer.poll(0)
    producer.flush()
    deployment.process().start()
    deployment.finish()
    heard: dict[str, list[float]] = {"call-a": [], "call-b": []}
    for records in deployment.published()[0].values():
        for record in records:
            heard[(record.key or b"").decode()].append(json.loads(record.value or b"{}")["probability"])
    np.testing.assert_allclose(np.ravel(heard["call-a"]), makers, atol=TOLERANCE)
    np.testing.assert_allclose(np.ravel(heard["call-b"]), makers[:60], atol=TOLERANCE)
    kafka.delete_topics(deployment.output, deployment.dead_letters, deployment.changelog)
