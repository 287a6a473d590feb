"""The rules: one a type of layer, in a table. Importing this fills the table (and imports Keras)."""

from processor.model.convert.rules import pointwise, recurrent
from processor.model.convert.rules.base import RULES, Call, Flow, InTheWay, Layer, Piece, Rule, Tensor, rule_for
from processor.model.convert.rules.missing import refuse

__all__ = [
    "RULES",
    "Call",
    "Flow",
    "InTheWay",
    "Layer",
    "Piece",
    "Rule",
    "Tensor",
    "pointwise",
    "recurrent",
    "refuse",
    "rule_for",
]
