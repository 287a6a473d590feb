"""The names that settings have, what each accepts in words, and which known name an unknown one probably meant."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, get_args, get_origin

import annotated_types

from processor.config.settings import Allowed, Properties, Section, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

SECRET_WORDS: Final = ("password", "secret", "key", "token", "jaas")
MASK: Final = "********"


@cache
def sections() -> Mapping[str, type[Section]]:
    """Section name -> its model, in the order of the documentation."""
    models: dict[str, type[Section]] = {}
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Section)
        models[name] = field.annotation
    return models


@cache
def fields() -> Mapping[str, FieldInfo]:
    """Dotted name -> field, free tables (`kafka.properties`) among them."""
    return {
        f"{section}.{name}": field
        for section, model in sections().items()
        for name, field in model.model_fields.items()
    }


@cache
def free_tables() -> tuple[str, ...]:
    """Dotted names of the tables whose names are librdkafka's."""
    return tuple(name for name, field in fields().items() if field.annotation == Properties)


def property_of(name: str) -> tuple[str, str] | None:
    """`kafka.consumer.fetch.min.bytes` -> (`kafka.consumer`, `fetch.min.bytes`); None for any other name."""
    for table in free_tables():
        if name.startswith(table + ".") and len(name) > len(table) + 1:
            return table, name[len(table) + 1 :]
    return None


def is_secret(name: str) -> bool:
    """Whether the value of a librdkafka property (by its dotted name) must not be shown."""
    found = property_of(name)
    return found is not None and any(word in found[1].lower() for word in SECRET_WORDS)


def takes_text(name: str) -> bool:
    """Whether a value given as text (environment, `--set`) is the value itself, not TOML to be read."""
    return property_of(name) is not None or fields()[name].annotation not in (int, float, bool)


def _limits(field: FieldInfo) -> str:
    texts = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Gt(gt=bound):
                texts.append(f"above {bound:g}")
            case annotated_types.Ge(ge=bound):
                texts.append(f"of at least {bound:g}")
            case annotated_types.Le(le=bound):
                texts.append(f"at most {bound:g}")
    return " and ".join(texts)


def allowed(name: str) -> str:
    """What the setting of this dotted name accepts, as a phrase."""
    if property_of(name):
        return "text, a number, or true or false"
    field = fields()[name]
    for mark in field.metadata:
        if isinstance(mark, Allowed):
            return mark.text
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    if field.annotation is bool:
        return "true or false"
    if field.annotation is str:
        return "text"
    if field.annotation == Properties:
        return "a table of librdkafka properties"
    kind = "a whole number" if field.annotation is int else "a number"
    return f"{kind} {_limits(field)}".rstrip()


def suggestion(unknown: str) -> str:
    """The known name nearest to an unknown one, dotted, or an empty text if no name is near."""
    section, _, last = unknown.rpartition(".")
    same = [name for name in fields() if name.partition(".")[2] == last]
    if same:
        # The right name in a wrong section. `topic` and `format` are in several: the nearest section wins.
        return next(iter(difflib.get_close_matches(unknown, same, n=1, cutoff=0.0)), same[0])
    if section in sections():
        inside = difflib.get_close_matches(last, sections()[section].model_fields, n=1, cutoff=0.6)
        if inside:
            return f"{section}.{inside[0]}"
    return next(iter(difflib.get_close_matches(unknown, [*fields(), *sections()], n=1, cutoff=0.6)), "")
