"""The bytes of the format `float32`: little-endian, packed, the same length for every record of a model.

An event is its samples' words (float32, or int32 for tokens), input after input in the artifact's order, each flattened
row by row; either nothing more, or the 20 bytes of EXTRAS. A prediction is the 36 bytes of HEAD and its outputs' words.
`schemas/README.md` has the tables for those who write producers and consumers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.types import TensorSpec

EXTRAS: Final = np.dtype([("time", "<i8"), ("sequence", "<i8"), ("flags", "<u4")])

HAS_TIME: Final = 1
HAS_SEQUENCE: Final = 2
START: Final = 4
END: Final = 8
KNOWN_FLAGS: Final = HAS_TIME | HAS_SEQUENCE | START | END

HEAD: Final = np.dtype(
    [("offset", "<i8"), ("time", "<i8"), ("step", "<u8"), ("partition", "<i4"), ("flags", "<u4"), ("model", "<u4")]
)
WARM: Final = 1


def words(specs: Sequence[TensorSpec]) -> np.dtype[Any]:
    """One record's tensors, one field each, named by rank: a tensor's own name may be that of another field."""
    kinds = {"float32": "<f4", "int32": "<i4"}
    return np.dtype([(f"tensor_{rank}", kinds[spec.dtype], spec.shape) for rank, spec in enumerate(specs)])


def joined(*parts: np.dtype[Any]) -> np.dtype[Any]:
    """The fields of several layouts, one after the other."""
    return np.dtype([(name, part[name]) for part in parts for name in part.names or ()])
