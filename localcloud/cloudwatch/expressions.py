"""Metric math: the part of CloudWatch's expressions that alarms and dashboards of endpoints use, over aligned points.

A series is {moment: value}; an operator works where both sides have a value, as CloudWatch does.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping

Series = dict[int, float]
Operand = float | Series

_WORDS = {"AND": " and ", "&&": " and ", "OR": " or ", "||": " or "}
_BINARY: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right if right else math.nan,
    ast.Pow: lambda left, right: left**right,
    ast.Gt: lambda left, right: float(left > right),
    ast.GtE: lambda left, right: float(left >= right),
    ast.Lt: lambda left, right: float(left < right),
    ast.LtE: lambda left, right: float(left <= right),
    ast.Eq: lambda left, right: float(left == right),
    ast.NotEq: lambda left, right: float(left != right),
}
_BOOLEAN: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.And: lambda left, right: float(bool(left) and bool(right)),
    ast.Or: lambda left, right: float(bool(left) or bool(right)),
}
_UNARY: dict[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
FUNCTIONS = ("IF", "FILL", "METRICS", *_UNARY, *_AGGREGATES)


class ExpressionError(Exception):
    """An expression that cannot be read or is not emulated; the message says what."""


def parse(expression: str) -> ast.expr:
    """The expression's tree. Raises ExpressionError."""
    text = re.sub(r"\bAND\b|\bOR\b|&&|\|\|", lambda found: _WORDS[found[0]], expression)
    text = text.replace("^", "**").strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise ExpressionError(f"'{expression}' is not a metric math expression.") from None
    for node in ast.walk(tree):
        _check(node, expression)
    return tree


def names(tree: ast.expr) -> set[str]:
    """The ids that an expression reads."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions} - {"REPEAT"}


def _check(node: ast.AST, expression: str) -> None:
    allowed = (
        ast.BinOp, ast.UnaryOp, ast.USub, ast.BoolOp, ast.Compare, ast.Call, ast.Name, ast.Load, ast.Constant, ast.List,
        *_BINARY, *_BOOLEAN,
    )  # fmt: skip
    if not isinstance(node, allowed):
        raise ExpressionError(f"The local AWS does not emulate {type(node).__name__} of '{expression}'.")
    if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
        raise ExpressionError(f"'{expression}' has {node.value!r} where a number or an id belongs.")
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        raise ExpressionError(f"'{expression}' chains comparisons; join them with AND.")
    if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
        raise ExpressionError(
            f"The local AWS does not emulate this function of '{expression}'; it has {', '.join(FUNCTIONS)}."
        )


def evaluate(tree: ast.expr, series: Mapping[str, Series], moments: list[int]) -> Series:
    """The expression's value at each moment that has one. Raises ExpressionError for an unknown id."""
    result = _Evaluation(series, moments).value(tree)
    if not isinstance(result, dict):
        return dict.fromkeys(moments, float(result))
    return {moment: value for moment, value in sorted(result.items()) if not math.isnan(value)}


class _Evaluation:
    def __init__(self, series: Mapping[str, Series], moments: list[int]) -> None:
        self._series = series
        self._moments = moments

    def value(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                if name not in self._series:
                    raise ExpressionError(f"There is no metric or expression with the id '{name}'.")
                return self._series[name]
            case ast.UnaryOp(operand=operand):
                return self._combine(_BINARY[ast.Sub], 0.0, self.value(operand))
            case ast.BinOp(left=left, op=operator, right=right):
                return self._combine(_BINARY[type(operator)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self._combine(_BINARY[type(operator)], self.value(left), self.value(right))
            case ast.BoolOp(op=operator, values=[first, *others]):
                result = self.value(first)
                for other in others:
                    result = self._combine(_BOOLEAN[type(operator)], result, self.value(other))
                return result
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._call(function, arguments)
        raise ExpressionError("A list stands only inside of SUM, AVG, MIN or MAX.")

    def _combine(self, operator: Callable[[float, float], float], left: Operand, right: Operand) -> Operand:
        if isinstance(left, dict) and isinstance(right, dict):
            return {moment: operator(value, right[moment]) for moment, value in left.items() if moment in right}
        if isinstance(left, dict):
            assert not isinstance(right, dict)  # noqa: S101 — for the type checker
            return {moment: operator(value, right) for moment, value in left.items()}
        if isinstance(right, dict):
            return {moment: operator(left, value) for moment, value in right.items()}
        return operator(left, right)

    def _call(self, function: str, arguments: list[ast.expr]) -> Operand:
        if function == "METRICS":
            raise ExpressionError("METRICS() stands only inside of SUM, AVG, MIN or MAX.")
        if function == "IF":
            return self._if(arguments)
        if function == "FILL":
            return self._fill(arguments)
        if function in _UNARY:
            (operand,) = self._exactly(1, function, arguments)
            value = self.value(operand)
            apply = _UNARY[function]
            if isinstance(value, dict):
                return {moment: float(apply(one)) for moment, one in value.items()}
            return float(apply(value))
        return self._aggregate(function, arguments)

    def _exactly(self, count: int, function: str, arguments: list[ast.expr]) -> list[ast.expr]:
        if len(arguments) != count:
            raise ExpressionError(f"{function} takes {count} arguments, not {len(arguments)}.")
        return arguments

    def _if(self, arguments: list[ast.expr]) -> Operand:
        if len(arguments) == 2:
            condition, then, otherwise = self.value(arguments[0]), self.value(arguments[1]), math.nan
        else:
            condition, then, other = (self.value(argument) for argument in self._exactly(3, "IF", arguments))
            if not isinstance(condition, dict):
                return then if condition else other
            return {
                moment: _at(then if truth else other, moment)
                for moment, truth in condition.items()
                if not math.isnan(_at(then if truth else other, moment))
            }
        if not isinstance(condition, dict):
            return then if condition else {}
        return {moment: _at(then, moment) if truth else otherwise for moment, truth in condition.items()}

    def _fill(self, arguments: list[ast.expr]) -> Operand:
        operand, filler = self._exactly(2, "FILL", arguments)
        value = self.value(operand)
        if not isinstance(value, dict):
            return value
        if isinstance(filler, ast.Name) and filler.id == "REPEAT":
            filled: Series = {}
            last = math.nan
            for moment in sorted({*self._moments, *value}):
                last = value.get(moment, last)
                filled[moment] = last
            return filled
        other = self.value(filler)
        return {moment: value.get(moment, _at(other, moment)) for moment in {*self._moments, *value}}

    def _aggregate(self, function: str, arguments: list[ast.expr]) -> Operand:
        (operand,) = self._exactly(1, function, arguments)
        apply = _AGGREGATES[function]
        parts: list[Operand] | None = None
        if isinstance(operand, ast.List):
            parts = [self.value(one) for one in operand.elts]
        elif isinstance(operand, ast.Call) and isinstance(operand.func, ast.Name) and operand.func.id == "METRICS":
            parts = list(self._series.values())
        if parts is None:
            # Of one series: a single number, CloudWatch's scalar.
            value = self.value(operand)
            return value if not isinstance(value, dict) else apply(list(value.values())) if value else {}
        moments = {moment for part in parts if isinstance(part, dict) for moment in part}
        columns = {moment: [_at(part, moment) for part in parts] for moment in moments}
        return {
            moment: float(apply([value for value in column if not math.isnan(value)]))
            for moment, column in columns.items()
        }


def _at(operand: Operand, moment: int) -> float:
    return operand.get(moment, math.nan) if isinstance(operand, dict) else operand
