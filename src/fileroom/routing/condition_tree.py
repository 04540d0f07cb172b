"""Conditions as a tree, for forms and programs that do not write CEL: turned into the CEL text that means the same.

{"all": [{"attribute": "Modality", "operator": "equals", "value": "CT"}, {"not": {"any": [...]}}]}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fileroom.core.errors import told
from fileroom.routing.expression import DEPTH_MAX, ExpressionError, quoted
from fileroom.routing.operands import Operand, Type, attribute_operand, context_operand, parse_path, private_step

BRANCHES_MAX: Final = 500
"""Of a whole tree."""


def text_of_tree(tree: Mapping[str, Any]) -> str:
    """The CEL of a tree. Raises ExpressionError that names the branch."""
    count = [0]
    return _branch(tree, "", 0, count)


def _branch(tree: Any, where: str, depth: int, count: list[int]) -> str:
    count[0] += 1
    if depth > DEPTH_MAX // 2 or count[0] > BRANCHES_MAX:
        raise ExpressionError(told("The tree of conditions is too large."))
    if not isinstance(tree, Mapping):
        raise ExpressionError(told("{where}: a condition is a table.", where=where or "when"))
    keys = set(tree)
    for kind, joint in (("all", " && "), ("any", " || ")):
        if keys == {kind}:
            branches = tree[kind]
            if not isinstance(branches, list) or not branches:
                raise ExpressionError(
                    told("{where}: {kind} is a list of conditions.", where=where or "when", kind=kind)
                )
            inner = [_branch(one, f"{where}{kind}[{n}].", depth + 1, count) for n, one in enumerate(branches)]
            return inner[0] if len(inner) == 1 else f"({joint.join(inner)})"
    if keys == {"not"}:
        return f"!({_branch(tree['not'], f'{where}not.', depth + 1, count)})"
    return _leaf(tree, where)


def _leaf(tree: Mapping[str, Any], where: str) -> str:
    wrong = set(tree) - {"attribute", "operator", "value"}
    name, operator = tree.get("attribute"), tree.get("operator")
    if wrong or not isinstance(name, str) or not isinstance(operator, str):
        raise ExpressionError(
            told(
                "{where}: a condition has attribute, operator and value, or is all, any or not.", where=where or "when"
            )
        )
    make = _OPERATORS.get(operator)
    if make is None:
        raise ExpressionError(
            told(
                "{where}: there is no operator {name}; there are {all}.",
                where=where or "when",
                name=operator[:40],
                all=", ".join(_OPERATORS),
            )
        )
    operand = _operand(name.strip(), where)
    return make(operand, tree.get("value"))


_PRIVATE: Final = re.compile(r'private\("([^"\\]*)",\s*"([^"\\]*)"\)')


def _operand(name: str, where: str) -> Operand:
    """As it is written in CEL."""
    called = re.fullmatch(r"(age_in_years|age_in_days)\(\)", name)
    context = context_operand(called[1] if called else name) if called or not name.startswith("age_in") else None
    if context is not None:
        return context if not called else Operand(context.what, (), context.type, context.many, name)
    private = _PRIVATE.fullmatch(name)
    try:
        path = (
            (private_step(private[1], private[2]),)
            if private
            else parse_path(re.sub(r'^(?:attr|tag)\("(.*)"\)$', r"\1", name))
        )
    except KeyError as error:
        raise ExpressionError(told("There is no attribute {name}.", name=str(error.args[0])[:80])) from error
    except ValueError as error:
        raise ExpressionError(f"{where or 'when'}: {error}") from error
    written = name if private or re.fullmatch(r"[A-Za-z]\w*", name) else f"attr({quoted(_path_text(name))})"
    try:
        return attribute_operand(path, written)
    except ValueError:
        return attribute_operand(path, written, "present")


def _path_text(name: str) -> str:
    return re.sub(r'^(?:attr|tag)\("(.*)"\)$', r"\1", name)


def _value(value: Any, operand: Operand) -> str:
    if operand.type is Type.NUMBER:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ExpressionError(told("{name} is compared with a number.", name=operand.text)) from None
        return repr(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return quoted(str(value))
    raise ExpressionError(told("{name} is compared with a text.", name=operand.text))


def _list(value: Any, operand: Operand) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ExpressionError(told("{name} is compared with a list of values.", name=operand.text))
    return [_value(one, operand) for one in value]


_Maker = Callable[[Operand, Any], str]


def _comparison(operator: str) -> _Maker:
    def make(operand: Operand, value: Any) -> str:
        text = _value(value, operand)
        return f"{operand.text}.exists(x, x {operator} {text})" if operand.many else f"{operand.text} {operator} {text}"

    return make


def _equals(operand: Operand, value: Any) -> str:
    if operand.type is Type.FLAG:
        return operand.text if value in (True, "true") else f"!{operand.text}"
    text = _value(value, operand)
    return f"{text} in {operand.text}" if operand.many else f"{operand.text} == {text}"


def _one_of(operand: Operand, value: Any) -> str:
    values = ", ".join(_list(value, operand))
    return f"{operand.text}.exists(x, x in [{values}])" if operand.many else f"{operand.text} in [{values}]"


def _between(operand: Operand, value: Any) -> str:
    ends = _list(value, operand)
    if len(ends) != 2:
        raise ExpressionError(told("{name} lies between two values.", name=operand.text))
    inner = f"{{0}} >= {ends[0]} && {{0}} <= {ends[1]}"
    return f"{operand.text}.exists(x, {inner.format('x')})" if operand.many else f"({inner.format(operand.text)})"


def _method(name: str) -> _Maker:
    def make(operand: Operand, value: Any) -> str:
        if operand.type is Type.NUMBER:
            raise ExpressionError(told("{name} is a number; it has no text to look into.", name=operand.text))
        text = _value(value, operand)
        return f"{operand.text}.exists(x, x.{name}({text}))" if operand.many else f"{operand.text}.{name}({text})"

    return make


def _function(name: str) -> _Maker:
    def make(operand: Operand, value: Any) -> str:
        return f"{name}({operand.text}, {_value(value, operand)})"

    return make


def _present(operand: Operand, _value: Any = None) -> str:
    if not operand.path:
        return f'{operand.text} != ""' if operand.type is Type.TEXT and not operand.many else operand.text
    inner = re.sub(r'^attr\((".*")\)$', r"\1", operand.text)
    return f"present({inner})"


def _negated(make: _Maker) -> _Maker:
    return lambda operand, value: f"!({make(operand, value)})"


_OPERATORS: Final[dict[str, _Maker]] = {
    "equals": _equals,
    "not_equals": _negated(_equals),
    "in": _one_of,
    "not_in": _negated(_one_of),
    "like": _function("like"),
    "not_like": _negated(_function("like")),
    "same": _function("same"),
    "matches": _method("matches"),
    "contains": _method("contains"),
    "starts_with": _method("startsWith"),
    "ends_with": _method("endsWith"),
    "less": _comparison("<"),
    "less_or_equal": _comparison("<="),
    "greater": _comparison(">"),
    "greater_or_equal": _comparison(">="),
    "between": _between,
    "present": _present,
    "absent": _negated(_present),
}
OPERATORS: Final = tuple(_OPERATORS)
