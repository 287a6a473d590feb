"""The rules: one a type of layer, in a table. Importing this fills the table (and imports Keras)."""

from processor.model.convert.rules import (
    distributed,
    lookups,
    operations,
    padding,
    pointwise,
    recurrent,
    running,
    windows,
)
from processor.model.convert.rules.base import (
    RULES,
    Call,
    Flow,
    Hole,
    InTheWay,
    Layer,
    Piece,
    Rule,
    Tensor,
    inherits,
    kind_of,
    rule_for,
)
from processor.model.convert.rules.lookups import only_passes, vocabulary_of
from processor.model.convert.rules.missing import refuse
from processor.model.convert.rules.whole import Collect, Collected, Whole, put

__all__ = [
    "RULES",
    "Call",
    "Collect",
    "Collected",
    "Flow",
    "Hole",
    "InTheWay",
    "Layer",
    "Piece",
    "Rule",
    "Tensor",
    "Whole",
    "distributed",
    "inherits",
    "kind_of",
    "lookups",
    "only_passes",
    "operations",
    "padding",
    "pointwise",
    "put",
    "recurrent",
    "refuse",
    "rule_for",
    "running",
    "vocabulary_of",
    "windows",
]
