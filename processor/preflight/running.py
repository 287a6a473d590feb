"""What of the topics must stay as it is while the processor runs, and what each change means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.errors import ProcessorError
from processor.kafka.lookout import Expected
from processor.preflight.checks import topic_findings
from processor.preflight.topics import describe

if TYPE_CHECKING:
    from processor.config import Settings
    from processor.kafka.admin import Admin
    from processor.preflight import Topology


def expected_topics(settings: Settings, facts: Topology) -> list[Expected]:
    """The four topics as they were at the start."""
    published = "Nothing of the new topic was published."
    if not settings.exactly_once:
        published = "Predictions of its first events may have been published; its offsets were not committed."
    return [
        Expected(
            "input",
            facts.input.name,
            facts.input.topic_id,
            facts.input.partitions,
            f"The states were made from the former one. {published}",
            "`processor reset --to-start` empties the states and begins at the new topic's beginning, "
            "`processor reset --to-end` at its end.",
            f"Stop all processes of the group. Give {facts.output.name} and {facts.changelog.name} as many partitions "
            "(`kafka-topics.sh --alter --topic ... --partitions ...`). Then type `processor reset --rebuild`: a key "
            "that has moved begins afresh in its new partition. For whole sequences, copy the input to a new topic and "
            "take a new kafka.group_id.",
        ),
        Expected(
            "output",
            facts.output.name,
            facts.output.topic_id,
            facts.output.partitions,
            "The predictions that it held are gone; the states are whole.",
            "Start again to go on with the next event. To predict the whole input again: `processor reset --to-start`.",
        ),
        Expected(
            "dead-letter",
            facts.dead_letter.name,
            facts.dead_letter.topic_id,
            facts.dead_letter.partitions,
            "The dead letters that it held are gone; the states are whole.",
            "Start again to go on with the next event.",
        ),
        Expected(
            "changelog",
            facts.changelog.name,
            facts.changelog.topic_id,
            facts.changelog.partitions,
            "It held the states of all keys.",
            "Stop all processes of the group, and type `processor reset --rebuild`: the states are recreated from the "
            "whole input, without publishing, and the group goes on where it stands. `processor reset --here` goes on "
            "there with empty states.",
        ),
    ]


def review(settings: Settings, admin: Admin, words: int) -> ProcessorError | None:
    """What a new start would refuse of the topics, None where nothing. words: of one state.

    A topic that is missing is left to the look-out, and so is a broker that does not answer.
    """
    try:
        found = describe(settings, admin)
    except ProcessorError:
        return None
    if None in (found.input, found.output, found.dead_letter, found.changelog):
        return None
    findings = topic_findings(settings, found, words)
    return next((finding.to_error() for finding in findings if finding.verdict == "error"), None)
