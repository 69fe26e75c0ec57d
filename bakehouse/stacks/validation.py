"""From a document to a model, and from pydantic's errors to ours."""

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from bakehouse.errors import InputError
from bakehouse.stacks.documents import Document, Keys


class Model(BaseModel):
    """What all our documents' models share: nothing unknown, nothing empty, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _no_empty_values(cls, data: Any) -> Any:
        if isinstance(data, dict):
            empty = next((key for key, value in data.items() if value is None), None)
            if empty is not None:
                raise ValueError(f"`{empty}` has no value: give it one, or remove the key")
        return data


ModelType = TypeVar("ModelType", bound=BaseModel)

_TYPE_NAMES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validate(
    model: type[ModelType], data: Any, document: Document, keys: Keys = (), *, schema: str
) -> ModelType:
    """Make a model of a part of a document.

    Args:
        model: What the part must be.
        data: The part.
        document: Where it comes from.
        keys: Path of the part in the document.
        schema: File name in schemas/, for the remedy.

    Raises:
        InputError: At the first thing that is wrong; names file, line, key, reason and remedy.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A mistyped key is both missing and unknown: the unknown one is what the user looks for.
        mistakes = error.errors()
        first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
        raise _explained(first, model, document, keys, schema) from error


def suggestion(wrong: str, choices: Iterable[str]) -> str:
    """A remedy for a mistyped name."""
    names = sorted(choices)
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"one of: {', '.join(names)}" if names else "there are none yet"


def _explained(
    first: ErrorDetails, model: type[BaseModel], document: Document, keys: Keys, schema: str
) -> InputError:
    location, kind = first["loc"], first["type"]
    path = (*keys, *location)
    # pydantic adds steps that are not in the document, such as a union's member.
    while kind != "missing" and len(path) > len(keys) and path not in document.lines:
        path = path[:-1]
    last = str(location[-1]) if location else ""
    reason = first["msg"].removeprefix("Value error, ")
    remedy = f"see schemas/{schema}"
    if kind == "extra_forbidden":
        reason = f"unknown key {last}"
        remedy = suggestion(last, _keys_at(model, location[:-1]))
    elif kind == "missing":
        reason = f"{last} is missing"
        remedy = f"add it; see schemas/{schema}"
    elif kind in _TYPE_NAMES:
        reason = f"this must be {_TYPE_NAMES[kind]}, not {_described(first['input'])}"
        if kind == "string_type" and isinstance(first["input"], int | float):
            remedy = "write it in quotes"
    elif kind == "literal_error":
        remedy = suggestion(str(first["input"]), _literals(first))
    return InputError(reason, where=document.where(path), remedy=remedy)


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return {bool: "true or false", int: "a number", float: "a number"}.get(type(value), "a text")


def _literals(error: ErrorDetails) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]


def _keys_at(model: type[BaseModel], location: tuple[str | int, ...]) -> set[str]:
    """Keys that a mapping at this place of a model may have."""
    annotation: Any = model
    for step in location:
        found = _model_in(annotation)
        if found is not None and step in found.model_fields:
            annotation = found.model_fields[str(step)].annotation
    found = _model_in(annotation)
    return set(found.model_fields) if found is not None else set()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model that an annotation such as dict[str, Model] | None speaks of."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_in, get_args(annotation))), None)
