"""Reads the settings: file, environment and `--set`, in rising precedence, each value with its origin.

1. Flatten every source to dotted names; unknown names are problems, with the nearest known one.
2. Merge; a later source takes a name away from an earlier one.
3. Validate all of it at once by the models; then the relations between settings.
One error reports all problems, so that a user corrects a file in one go.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pydantic import ValidationError

from processor.config.names import (
    MASK,
    allowed,
    fields,
    free_tables,
    is_secret,
    property_of,
    sections,
    suggestion,
    takes_text,
)
from processor.config.problems import Problem, error_of
from processor.config.relations import relations
from processor.config.settings import Settings
from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_FILE: Final = "processor.toml"
ENVIRONMENT_PREFIX: Final = "PROCESSOR_"

Origin = Literal["default", "file", "environment", "--set"]

# These properties name files, so that a relative one in the settings' file is relative to it, like any path there.
# `probe` is librdkafka's word for "look for it", not a file.
_PATH_PROPERTIES: Final = frozenset(f"ssl.{what}.location" for what in ("ca", "certificate", "key", "keystore", "crl"))


class GivenValue(NamedTuple):
    """One given value: where it comes from, and the user's name for that source."""

    value: Any
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force. `origins`: every setting's dotted name, and those of the given librdkafka properties."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: Path | None


def load_settings(path: Path | None, environ: Mapping[str, str], overrides: Sequence[str]) -> Loaded:
    """The settings from the file at `path`, `environ` and `overrides` (items of `section.name=value`).

    path: None means ./processor.toml where there is one, and no file otherwise.

    Raises:
        ConfigError: the file cannot be read, a name is unknown, a value is wrong, or two of them do not go together.
    """
    if path is None and Path(DEFAULT_FILE).is_file():
        path = Path(DEFAULT_FILE)
    problems: list[Problem] = []
    entries: dict[str, GivenValue] = {}
    if path is not None:
        entries |= _from_file(path, problems)
    entries |= _from_environment(environ, problems)
    entries |= _from_overrides(overrides, problems)
    settings = _validated(entries, problems)
    if settings is not None:
        problems += relations(settings)
    if settings is None or problems:
        raise error_of(problems)
    origins: dict[str, Origin] = {name: "default" for name in fields() if name not in free_tables()}
    origins |= {name: entry.origin for name, entry in entries.items()}
    return Loaded(settings, origins, path)


def _from_file(path: Path, problems: list[Problem]) -> dict[str, GivenValue]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"The settings' file {path} does not exist.",
            hint="Without -c, ./processor.toml is read where there is one.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings' file {path} cannot be read.", str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The settings' file {path} is not TOML.",
            f"{error}.",
            'Text needs quotes in the file, as in topic = "samples".',
        ) from None
    entries = {}
    for name, value in _flattened(document):
        if _is_known(name):
            entries[name] = GivenValue(_beside(path.parent, name, value), "file", str(path))
        else:
            problems.append(_unknown(name, str(path)))
    return entries


def _flattened(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted names and their values. In a free table `security.protocol = "SSL"` may be written without quotes too."""
    for section, content in document.items():
        if not isinstance(content, dict):
            yield section, content
            continue
        for name, value in content.items():
            dotted = f"{section}.{name}"
            if dotted in free_tables() and isinstance(value, dict):
                yield from _leaves(dotted, value)
            else:
                yield dotted, value
        if section not in sections() and not content:
            yield section, content


def _leaves(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def _beside(folder: Path, name: str, value: Any) -> Any:
    """The value, a relative path in it made relative to the file's folder."""
    found = property_of(name)
    is_path = found[1] in _PATH_PROPERTIES and value != "probe" if found else fields()[name].annotation is Path
    return str(folder / value) if is_path and isinstance(value, str) and value else value


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, GivenValue]:
    flat_names = {name.replace(".", "_").upper(): name for name in fields()}
    entries = {}
    for variable in sorted(environ):
        rest = variable.removeprefix(ENVIRONMENT_PREFIX)
        if rest == variable:
            continue
        name = _dotted(rest)
        if name is not None and _is_known(name):
            entries[name] = GivenValue(_typed(name, environ[variable]), "environment", variable)
        elif name is not None:
            problems.append(_unknown(name, variable))
        elif rest in flat_names:
            # Other variables of this prefix are none of ours: an orchestrator makes its own (PROCESSOR_PORT, ...).
            right = ENVIRONMENT_PREFIX + flat_names[rest].replace(".", "__").upper()
            problems.append(
                Problem(
                    f"The variable {variable} is not read.",
                    "Section and name need two underscores between them.",
                    f"Call it {right}.",
                )
            )
    return entries


def _dotted(rest: str) -> str | None:
    """`KAFKA__GROUP_ID` -> `kafka.group_id`; `KAFKA__PROPERTIES__SASL_PASSWORD` -> `kafka.properties.sasl.password`."""
    parts = rest.lower().split("__")
    if len(parts) < 2:
        return None
    if len(parts) > 2 and ".".join(parts[:2]) in free_tables():
        return ".".join([*parts[:2], *(part.replace("_", ".") for part in parts[2:])])
    return ".".join(parts)


def _from_overrides(overrides: Sequence[str], problems: list[Problem]) -> dict[str, GivenValue]:
    entries = {}
    for override in overrides:
        name, separator, text = override.partition("=")
        name = name.strip()
        if not separator:
            problems.append(Problem(f"--set {override} has no value.", "Its form is --set section.name=value."))
        elif _is_known(name):
            entries[name] = GivenValue(_typed(name, text), "--set", "--set")
        else:
            problems.append(_unknown(name, "--set"))
    return entries


def _typed(name: str, text: str) -> Any:
    """The value that a text means for a setting: the text itself, or what TOML reads in it."""
    if name in free_tables() or takes_text(name):
        return text
    try:
        document = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError:
        return text
    # A text with a line break could bring further names; the model then refuses it as the text that it is.
    return document["value"] if list(document) == ["value"] else text


def _is_known(name: str) -> bool:
    return name in fields() or property_of(name) is not None


def _unknown(name: str, source: str) -> Problem:
    if name in sections():
        return Problem(f"{name}, from {source}, is a section and has no value.", "", "Name a setting in it.")
    near = suggestion(name)
    hint = f"Did you mean {near}?" if near else "`processor config schema` lists all settings."
    return Problem(f"There is no setting {name!r}.", f"It comes from {source}.", hint)


def _validated(entries: Mapping[str, GivenValue], problems: list[Problem]) -> Settings | None:
    tree: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        found = property_of(name)
        section, _, field = (found[0] if found else name).partition(".")
        content = tree.setdefault(section, {})
        if found is None:
            content[field] = entry.value
        elif isinstance(content.setdefault(field, {}), dict):
            content[field][found[1]] = entry.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        # A union reports one error for each of its types; the setting is wrong once.
        names = dict.fromkeys(_name_of(item["loc"]) for item in error.errors())
        problems.extend(_wrong(name, entries[name]) for name in names)
        return None


def _name_of(location: tuple[int | str, ...]) -> str:
    """Where pydantic found an error -> dotted name (without the union's member that it adds to a property)."""
    name = ".".join(map(str, location[:2]))
    return f"{name}.{location[2]}" if name in free_tables() and len(location) > 2 else name


def _wrong(name: str, entry: GivenValue) -> Problem:
    given = MASK if is_secret(name) else repr(entry.value)
    return Problem(f"{name} is {given}, from {entry.source}.", f"It must be {allowed(name)}.")
