"""Check the symbolic sizes in torch.export files: a parser that accepts only arithmetic on sizes.

torch passes these texts to sympy.sympify, which evaluates them as Python (torch/_export/serde/serialize.py,
`_parse_sym_expr`). This pipeline does not need their values; it parses them to refuse everything else.

    sum     = product, {("+" | "-"), product}        comparison = sum, [("<" | "<=" | ... ), sum]
    product = power, {("*" | "/" | "//" | "%"), power}
    power   = {"-" | "+" | "~"}, atom, ["**", ["-"], small number]
    atom    = number | symbol | "(" comparison ")" | FUNCTION "(" [comparison {"," comparison}] ")"
            | "Symbol(" quoted-name {"," property "=" boolean} ")" | "True" | "False"
"""

from __future__ import annotations

import re
from typing import Any

MAX_LENGTH = 4000
MAX_DEPTH = 60
FUNCTIONS = frozenset(
    [
        "Add",
        "Mul",
        "Pow",
        "Integer",
        "Rational",
        "Float",
        "Max",
        "Min",
        "Mod",
        "PythonMod",
        "FloorDiv",
        "CeilDiv",
        "CleanDiv",
        "ModularIndexing",
        "IntTrueDiv",
        "FloatTrueDiv",
        "TruncToInt",
        "TruncToFloat",
        "CeilToInt",
        "FloorToInt",
        "RoundToInt",
        "ToFloat",
        "Where",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "Piecewise",
        "Identity",
    ]
)
"""What torch's own printer writes (torch/utils/_sympy/functions.py, sympy's srepr)."""
PROPERTIES = frozenset(["positive", "integer", "negative", "nonnegative", "nonzero", "real", "zero", "finite"])
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w{0,60})|(?P<text>'[A-Za-z_]\w{0,60}'|'\d{1,30}(?:\.\d{1,30})?')"
    r"|(?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%<>&|~(),=]))",
    re.ASCII,
)
_SYMBOL = re.compile(r"[a-z]{1,4}\d{0,9}(?:_\d{1,9})?", re.ASCII)


def check_expression(text: Any) -> bool:
    """Whether a text contains only arithmetic on integer sizes."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        return False
    try:
        parser = _Parser(_tokens(text))
        parser.comparison(0)
        return parser.at == len(parser.tokens)
    except _NotArithmetic:
        return False


class _NotArithmetic(Exception):
    pass


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _NotArithmetic
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.at = tokens, 0

    def next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise _NotArithmetic
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, *signs: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] in [("sign", sign) for sign in signs]:
            self.at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise _NotArithmetic

    def comparison(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _NotArithmetic
        self.sum(depth)
        while self.accept("<", "<=", ">", ">=", "==", "!=", "&", "|"):
            self.sum(depth)

    def sum(self, depth: int) -> None:
        self.product(depth)
        while self.accept("+", "-"):
            self.product(depth)

    def product(self, depth: int) -> None:
        self.power(depth)
        while self.accept("*", "/", "//", "%"):
            self.power(depth)

    def power(self, depth: int) -> None:
        while self.accept("-", "+", "~"):
            pass
        self.atom(depth)
        if self.accept("**"):
            self.accept("-")
            kind, text = self.next()
            if kind != "number" or len(text) > 2:
                raise _NotArithmetic

    def atom(self, depth: int) -> None:
        kind, text = self.next()
        if kind == "number":
            return
        if (kind, text) == ("sign", "("):
            self.comparison(depth + 1)
            self.expect(")")
        elif kind == "name" and text == "Symbol":
            self.symbol()
        elif kind == "name" and text in FUNCTIONS:
            self.arguments(text, depth + 1)
        elif kind != "name" or not (_SYMBOL.fullmatch(text) or text in ("True", "False")):
            raise _NotArithmetic

    def arguments(self, function: str, depth: int) -> None:
        self.expect("(")
        if self.accept(")"):
            return
        while True:
            if function == "Float" and self.at < len(self.tokens) and self.tokens[self.at][0] == "text":
                self.decimal()
            elif self.at + 1 < len(self.tokens) and self.tokens[self.at + 1] == ("sign", "="):
                self.named_number()
            else:
                self.comparison(depth)
            if self.accept(")"):
                return
            self.expect(",")

    def symbol(self) -> None:
        self.expect("(")
        kind, text = self.next()
        if kind != "text" or not _SYMBOL.fullmatch(text[1:-1]):
            raise _NotArithmetic
        while self.accept(","):
            if self.next() not in [("name", name) for name in PROPERTIES]:
                raise _NotArithmetic
            self.expect("=")
            if self.next() not in (("name", "True"), ("name", "False")):
                raise _NotArithmetic
        self.expect(")")

    def decimal(self) -> None:
        if not self.next()[1].strip("'").replace(".", "", 1).isdecimal():
            raise _NotArithmetic

    def named_number(self) -> None:
        """precision=53, as sympy writes a Float."""
        if self.next() != ("name", "precision"):
            raise _NotArithmetic
        self.expect("=")
        if self.next()[0] != "number":
            raise _NotArithmetic
