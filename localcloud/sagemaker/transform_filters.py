"""`DataProcessing` of a transform job: what of a JSON record the model sees, and what of record and answer is kept.

After https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html, whose JSONPath is a small
part of the language; of it, wildcards are refused here, and CSV is, since no model of ours reads any. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

INPUT, OUTPUT = "SageMakerInput", "SageMakerOutput"

_NAME = re.compile(r"\.([A-Za-z_][\w-]*)")
_QUOTED = re.compile(r"\[\s*('[^']+'(?:\s*,\s*'[^']+')*)\s*\]")
_POSITIONS = re.compile(r"\[\s*((?:-?\d+|-?\d*\s*:\s*-?\d*)(?:\s*,\s*(?:-?\d+|-?\d*\s*:\s*-?\d*))*)\s*\]")


class PathError(ValueError):
    """An expression that is not understood; the message says which and what is."""


class RecordError(ValueError):
    """A record that an expression does not fit, or an answer that is not one line a record."""


Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Path:
    """`$`, `.name`, `['a','b']`, `[0]`, `[1:]`, `[0,-1]`, one after the other.

    One name or position gives the value itself; several names give an object of them, several positions or a range an
    array, as AWS's examples have it.
    """

    text: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Raises PathError."""
        if not text.startswith("$"):
            raise PathError(f"'{text}' is no JSONPath: it begins with $")
        steps: list[Step] = []
        at = 1
        while at < len(text):
            if found := _NAME.match(text, at):
                steps.append(_member(found[1]))
            elif found := _QUOTED.match(text, at):
                names = re.findall(r"'([^']+)'", found[1])
                steps.append(_member(names[0]) if len(names) == 1 else _members(names))
            elif found := _POSITIONS.match(text, at):
                steps.append(_positions([part.strip() for part in found[1].split(",")]))
            else:
                raise PathError(
                    f"'{text}' has at '{text[at:]}' what is not understood here; known: $, .name, ['a','b'], [0], "
                    "[1:], [0,-1]"
                )
            at = found.end()
        return cls(text, tuple(steps))

    def select(self, value: Any) -> Any:
        """Raises RecordError where the value has nothing there."""
        for step in self.steps:
            try:
                value = step(value)
            except (LookupError, TypeError):
                raise RecordError(f"the record has nothing at {self.text}") from None
        return value


def _member(name: str) -> Step:
    def step(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError
        return value[name]

    return step


def _members(names: Sequence[str]) -> Step:
    def step(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError
        return {name: value[name] for name in names}

    return step


def _positions(parts: Sequence[str]) -> Step:
    single = len(parts) == 1 and ":" not in parts[0]

    def step(value: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError
        if single:
            return value[int(parts[0])]
        chosen: list[Any] = []
        for part in parts:
            if ":" in part:
                first, last = (int(one) if one.strip() else None for one in part.split(":"))
                chosen += value[first:last]
            else:
                chosen.append(value[int(part)])
        return chosen

    return step


@dataclass(frozen=True)
class Processing:
    """The three of `DataProcessing`. None of a filter keeps everything."""

    input: Path | None = None
    output: Path | None = None
    join: bool = False

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Processing:
        """Raises PathError."""

        def path(name: str) -> Path | None:
            text = given.get(name, "$")
            return None if text in ("", "$") else Path.parse(text)

        return cls(path("InputFilter"), path("OutputFilter"), given.get("JoinSource") == "Input")

    @property
    def active(self) -> bool:
        return self.join or self.input is not None or self.output is not None

    def sent(self, record: bytes) -> bytes:
        """What the model gets of a record. Raises RecordError."""
        return record if self.input is None else _dumped(self.input.select(_loaded(record, "the record")))

    def kept(self, records: Sequence[bytes], answer: bytes) -> bytes:
        """What is written of records, which were one request, and their answer. Raises RecordError."""
        if not self.join and self.output is None:
            return answer
        answers = [answer] if len(records) == 1 else [line for line in answer.splitlines() if line.strip()]
        if len(answers) != len(records):
            raise RecordError(f"the model answered {len(answers)} lines to {len(records)} records")
        return b"\n".join(self._row(record, one) for record, one in zip(records, answers, strict=True))

    def _row(self, record: bytes, answer: bytes) -> bytes:
        row = _loaded(answer, "the model's answer")
        if self.join:
            given = _loaded(record, "the record")
            row = {**(given if isinstance(given, dict) else {INPUT: given}), OUTPUT: row}
        return _dumped(row if self.output is None else self.output.select(row))


def _loaded(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RecordError(f"{what} is not JSON: {error}") from None


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
