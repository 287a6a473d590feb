"""`run --processes`: several members on one machine, started, watched and stopped as one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recovery.deployment import Deployment, Fed, wait_until

if TYPE_CHECKING:
    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic

TWO = ("--processes", "2")


def status(process: ProcessorProcess) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(process.get("/status") or "{}")
    return shown


def members(process: ProcessorProcess) -> list[psutil.Process]:
    pids = [one["pid"] for one in status(process)["processes"].values() if one["pid"]]
    return [psutil.Process(pid) for pid in pids]


def metrics(process: ProcessorProcess) -> dict[str, float]:
    page = process.get("/metrics")
    assert page
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def watched(process: ProcessorProcess) -> dict[str, Any]:
    """What `processor top` prints, for programs and for people."""
    command = [sys.executable, "-m", "processor", "top", "--once", "--at", f"127.0.0.1:{process.port}"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page.startswith("ready")
    assert "running" in page
    shown: dict[str, Any] = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    return shown


def test_a_process_dies_then_the_supervisor_and_the_bytes_are_the_same(
    fed: Fed, reference: tuple[Topic, Topic]
) -> None:
    deployment = fed.deployment
    deployment.static = False
    both = deployment.process(arguments=TWO, state__memory_mib=128).start("commit.done=sleep:0.02").wait_ready()
    fed.feed(8)
    wait_until(lambda: {one["process"] for one in status(both)["partitions"].values()} == {0, 1}, "two share the work")
    assert sorted(path.name for path in deployment.state().iterdir()) == ["process-0", "process-1"]

    wait_until(lambda: metrics(both)["processor_events_total"] > 0, "events are counted")
    before = metrics(both)
    assert before["processor_processes[running]"] == 2
    assert before["process_start_time_seconds[0]"] > 0
    assert before["process_start_time_seconds[1]"] > 0
    shown = watched(both)
    assert shown["ready"] is True
    assert shown["status"]["partitions"].keys() == status(both)["partitions"].keys()
    assert shown["predictions_per_second"] >= 0
    one = members(both)[1]
    one.kill()
    fed.feed(8)
    line = both.wait_event("process.restarts")
    assert (line["number"], line["code"]) == (1, -signal.SIGKILL)
    both.wait_ready()
    after = metrics(both)
    assert after["processor_process_restarts_total[1]"] == 1
    assert after["processor_events_total"] >= before["processor_events_total"], "a sum never falls"

    orphans = members(both)
    both.sigkill()
    wait_until(lambda: not any(orphan.is_running() for orphan in orphans), "no process outlives the supervisor")

    both.start().wait_ready()
    fed.feed(2)
    assert both.sigterm() == 0
    assert {line["process"] for line in both.events() if line["event"] == "stopped"} == {0, 1}
    fed.must_equal(reference)


def test_what_is_wrong_with_the_settings_is_reported_once_and_ends_all(deployment: Deployment) -> None:
    both = deployment.process(arguments=TWO, model__artifact=deployment.directory / "nothing")
    assert both.start().wait_exit() == 2
    failures = [line for line in both.events() if line["event"] == "failed"]
    assert [line["process"] for line in failures] == [0]
    assert "process.restarts" not in both.log()


def test_memory_that_is_too_little_for_so_many(deployment: Deployment) -> None:
    both = deployment.process(arguments=("--processes", "9"), state__memory_mib=64)
    assert both.start().wait_exit() == 2
    assert "Set state.memory_mib to 72 or more" in both.events()[-1]["hint"]


@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none(deployment: Deployment, count: str) -> None:
    wrong = deployment.process(arguments=("--processes", count))
    assert wrong.start().wait_exit() == 2
    assert "`auto`" in wrong.events()[-1]["hint"]
