"""pydantic's findings in plain English: what is wrong, and what is allowed.

Apart from `loading` so that a spec and the options of a pass are explained in one voice.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from model_build.deployment import FORMS
from model_build.spec import WEIGHTS_FORMS
from model_build.yaml_tree import Key, kind_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Shape = TypeVar("Shape", bound=BaseModel)

# By the key that has the pattern; a test holds that every pattern of the schema is here.
PATTERNS = {
    "name": "1 to 40 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen",
    "factory": "module:function, for instance examples.fashion.model:build",
    "instance": "a SageMaker instance type, for instance ml.c7i.large",
    "image": "repository:tag or a whole image URI",
    "repository": "an id on the hub, OWNER/NAME",
    "revision": "a commit of the hub, all 40 digits",
    "requirements": "a pinned package, name==version",
    "budget": "a whole number of seconds, minutes or hours, for instance 10m",
    "interval": "a whole number of seconds, minutes or hours, for instance 5m",
    "bake": "a whole number of seconds, minutes or hours, for instance 10m",
    "round_limit": "a whole number of seconds, minutes or hours, for instance 10m",
    "superlink": "HOST:PORT, for instance superlink.example.com:8000",
    "variants": "letters, digits and single hyphens, at most 63, for instance Candidate",
    "environments": "a lower-case name of at most 21 letters, digits and hyphens, for instance prod",
}

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
}


def validate(shape: type[Shape], values: Any) -> Shape:
    """A file's values in their shape, strictly: "2" is no number, "yes" no boolean. Raises ValidationError."""
    # JSON mode is strict about scalars yet takes a list for a tuple, and files have no tuples.
    return shape.model_validate_json(json.dumps(values), strict=True)


def explained(error: ValidationError, shape: type[BaseModel]) -> list[tuple[Key, str]]:
    """Each finding as its key and a sentence."""
    details = error.errors(include_url=False)
    # "Too short" also counts the items that are wrong themselves and are reported one by one.
    wrong = [detail["loc"] for detail in details]
    return [
        (key_of(detail["loc"]), _sentence(detail, shape))
        for detail in details
        if detail["type"] != "too_short"
        or not any(loc != detail["loc"] and loc[: len(detail["loc"])] == detail["loc"] for loc in wrong)
    ]


def key_of(loc: tuple[str | int, ...]) -> Key:
    """pydantic's location as a key of the file: without the marks of a union's branch or of a dict's key."""
    return tuple(part for part in loc if part not in (*WEIGHTS_FORMS, *FORMS, "[key]"))


def close(given: Any, known: Iterable[str]) -> list[str]:
    """The known name that was probably meant, if any."""
    return difflib.get_close_matches(str(given), list(known), 1, 0.6)


def suggestion(given: Any, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, where one of the known names is close."""
    return "".join(f"; did you mean '{name}'?" for name in close(given, known))


def choices(given: Any, known: Iterable[str]) -> str:
    """What to write in place of an unknown name: `; did you mean 'x'? known: x, y`."""
    known = list(known)
    hint = suggestion(given, known)
    return f"{hint or ';'} known: {', '.join(known) or 'none'}"


def _sentence(detail: ErrorDetails, shape: type[BaseModel]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        name = detail["loc"][-1]
        return f"unknown key '{name}'{choices(name, fields_at(shape, detail['loc'][:-1]))}"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        allowed = _literals(_annotation(shape, detail["loc"]))
        hint = suggestion(given, map(str, allowed)) if isinstance(given, str) else ""
        return f"{_shown(given)} is not one of: {', '.join(map(str, allowed))}{hint}"
    if kind == "string_pattern_mismatch":
        named = next((part for part in reversed(key_of(detail["loc"])) if part in PATTERNS), None)
        return f"{_shown(given)} must be {PATTERNS[str(named)] if named else 'of the form ' + context['pattern']}"
    if kind in _WANTED:
        return _wrong_kind(_WANTED[kind], given)
    limits = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    limits |= {"greater_than": ("above", "gt"), "less_than": ("below", "lt")}
    if kind in limits:
        word, limit = limits[kind]
        return f"must be {word} {context[limit]:g}; it is {_shown(given)}"
    if kind in ("too_short", "too_long"):
        limit = context["min_length" if kind == "too_short" else "max_length"]
        word = "at least" if kind == "too_short" else "at most"
        return f"must have {word} {limit} item{'s' if limit != 1 else ''}, not {context['actual_length']}"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters, not {len(given)}"
    return detail["msg"][0].lower() + detail["msg"][1:]


def _wrong_kind(wanted: str, given: Any) -> str:
    hint = ""
    if wanted == "text" and isinstance(given, bool | int | float):
        hint = f'; to mean the text, put it in quotes: "{_shown(given)}"'
    elif wanted == "true or false" and isinstance(given, str):
        hint = "; write true or false" + (" (yes, no, on and off are text)" if _is_old_boolean(given) else "")
    elif wanted.endswith("number") and isinstance(given, str) and _is_number(given):
        hint = "; write it without quotes"
    scalar = {str: f"the text {_shown(given)}", bool: _shown(given), int: _shown(given), float: _shown(given)}
    return f"must be {wanted}, not {scalar.get(type(given)) or kind_of(given)}{hint}"


def _is_old_boolean(text: str) -> bool:
    return text.lower() in {"yes", "no", "on", "off", "y", "n"}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:59]}…'"
    return json.dumps(value)


def fields_at(shape: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys that are known at a location."""
    return [
        name
        for branch in _branches(_annotation(shape, loc))
        if isinstance(branch, type) and issubclass(branch, BaseModel)
        for name in branch.model_fields
    ]


def _annotation(shape: Any, loc: tuple[str | int, ...]) -> Any:
    """The type at a location, found by walking fields, items and union branches."""
    found = shape
    for part in key_of(loc):
        found = next((inner for branch in _branches(found) if (inner := _inside(branch, part)) is not None), None)
    return found


def _inside(branch: Any, part: str | int) -> Any:
    if isinstance(branch, type) and issubclass(branch, BaseModel):
        return branch.model_fields[str(part)].annotation if part in branch.model_fields else None
    arguments = get_args(branch)
    if get_origin(branch) is dict:
        return arguments[1]
    if get_origin(branch) is tuple and isinstance(part, int):
        return arguments[0] if Ellipsis in arguments else arguments[part] if part < len(arguments) else None
    return None


def _branches(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    else:
        yield annotation


def _literals(annotation: Any) -> list[Any]:
    return [value for branch in _branches(annotation) for value in get_args(branch)]
