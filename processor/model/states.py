"""States as files: those of some keys, by slot name, in NumPy's .npz or in HDF5 (.h5).

A file has one array a slot, `slot/<name>` [rows, *shape] in the slot's own type, the keys, `keys` [rows], and the
fingerprint of the artifact, `fingerprint`. Read back, it has to fit the artifact slot by slot, and has to come from the
same model: two models of one layout have states of one shape, which mean different things. No code in a file is run.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.extras import MissingExtra

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processor.model.stepper import Stepper
    from processor.types import Float32Array

    Keys = list[str] | list[bytes]

_SLOT: Final = "slot/"
_KEYS: Final = "keys"
_KEY_KIND: Final = "keys_are_text"
_FINGERPRINT: Final = "fingerprint"
_FORM: Final = "States are read from .npz or .h5 files that save_states wrote."


def save_states(
    path: str | os.PathLike[str], stepper: Stepper, keys: Sequence[str] | Sequence[bytes], states: Float32Array
) -> None:
    """Writes the states of some keys.

    Args:
        path: ends in .npz, or in .h5 (which needs the extra `convert`).
        stepper: of the artifact that made the states.
        keys: all text or all bytes, one a row.
        states: float32[rows, D], as `stepper.step` returns them.

    Raises:
        ConfigError: the path has another ending, or h5py is not installed.
        ValueError: there are not as many keys as states, or the states are not of this artifact's width.
    """
    target = _checked_ending(path)
    kinds = {type(key) for key in keys}
    if len(keys) != len(states) or not kinds <= {str} | {bytes} or len(kinds) > 1:
        raise ValueError(f"{len(keys)} keys (all str or all bytes) for {len(states)} states")
    raw = [key.encode() if isinstance(key, str) else key for key in keys]
    arrays: dict[str, NDArray[Any]] = {_SLOT + name: values for name, values in stepper.slots(states).items()}
    arrays[_KEYS] = np.array([key.hex() for key in raw], dtype="S")
    arrays[_KEY_KIND] = np.array(kinds != {bytes})
    arrays[_FINGERPRINT] = np.array(stepper.fingerprint, dtype="S")
    if target.suffix == ".npz":
        np.savez(target, **arrays)  # type: ignore[arg-type]
    else:
        _h5().write(target, arrays)


def load_states(
    path: str | os.PathLike[str], stepper: Stepper, *, other_model: bool = False
) -> tuple[Keys, Float32Array]:
    """Reads what `save_states` wrote: the keys and their states, float32[rows, D] in this artifact's layout.

    Args:
        path: the file.
        stepper: of the artifact that will step the states.
        other_model: consent to states of an artifact with another fingerprint, and to files without one (an earlier
            version wrote them, or another program). The slots must fit in any case.

    Raises:
        ConfigError: there is no such file, `save_states` did not write it, its slots are not this artifact's, or its
            states belong to another model and there is no consent.
    """
    source = _checked_ending(path)
    if not source.is_file():
        raise ConfigError(f"There are no states at {source}.", "There is no such file.", _FORM)
    try:
        arrays = _npz(source) if source.suffix == ".npz" else _h5().read(source)
        keys = [bytes.fromhex(key.decode("ascii")) for key in arrays.pop(_KEYS).tolist()]
        is_text = bool(arrays.pop(_KEY_KIND))
        named: Keys = [key.decode() for key in keys] if is_text else keys
        owner = bytes(arrays.pop(_FINGERPRINT)).decode("ascii") if _FINGERPRINT in arrays else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"The states in {source} cannot be read.", f"{error}", _FORM) from error
    slots = {name.removeprefix(_SLOT): values for name, values in arrays.items() if name.startswith(_SLOT)}
    wrong = [
        f"{name}: {_shown(slots.get(name))} in the file, {slot.dtype}{list(slot.shape)} in the artifact"
        for name, slot in stepper.layout.items()
        if name not in slots or slots[name].shape != (len(keys), *slot.shape) or slots[name].dtype != slot.dtype
    ]
    unknown = sorted(set(slots) - set(stepper.layout))
    if wrong or unknown:
        details = [*wrong, *(f"{name}: not in the artifact" for name in unknown)]
        raise ConfigError(
            f"The states in {source} do not fit the artifact {stepper.artifact.directory}.",
            "; ".join(details) + ".",
            "States belong to the model whose slots they fill; load them with its artifact.",
        )
    if owner != stepper.fingerprint and not other_model:
        raise _another_model(source, stepper, owner)
    return named, stepper.with_slots(stepper.initial_state(len(keys)), slots)


def _another_model(source: Path, stepper: Stepper, owner: str | None) -> ConfigError:
    its = f"the artifact {stepper.artifact.directory} has the fingerprint {stepper.fingerprint}"
    if owner is None:
        fact = f"The file {source} does not name the model whose states it holds."
        cause = f"An earlier version wrote it, or another program; {its}."
    else:
        fact = f"The states in {source} belong to another model."
        cause = f"They come from an artifact with the fingerprint {owner}; {its}."
    return ConfigError(
        fact,
        cause,
        "Load them with the artifact that they come from. If you know that they fit this one (the same weights, "
        "converted again): load_states(path, stepper, other_model=True).",
    )


def _checked_ending(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if found.suffix not in (".npz", ".h5"):
        raise ConfigError(f"{found} is no name for a file of states.", f"Its ending is {found.suffix!r}.", _FORM)
    return found


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def _h5() -> Any:
    try:
        from processor.model.convert import h5
    except ImportError as error:
        raise MissingExtra("States in .h5 need h5py. (States in .npz need nothing more.)", "convert", error) from error
    return h5


def _shown(values: NDArray[Any] | None) -> str:
    return "nothing" if values is None else f"{values.dtype}{list(values.shape[1:])}"
