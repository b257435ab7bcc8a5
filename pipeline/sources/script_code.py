"""Parse TorchScript source, check it against a small grammar, and write it again from the parsed tree.

torch reads the source in the archive with its own tokenizer. Filtering that text is not a safe check: spaces, line
continuations and comments can make two readers see two programs. So the text is parsed (its syntax is Python's),
only constructs and calls that networks need are accepted, and torch gets new text written from the parsed tree.
The output follows torch/csrc/jit/serialization/python_print.cpp (torch 2.13).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.sources.operators import LANGUAGE, PRIMITIVES, is_tensor_operator
from pipeline.sources.pickled import shown

MAX_CODE = 16 << 20
"""Most bytes of source text in one archive."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}", re.ASCII)
_CONSTANT = re.compile(r"c\d{1,6}", re.ASCII)
_ROOTS = ("torch", "ops", "CONSTANTS", "__torch__")
_CONVERSIONS = ("int", "float", "bool", "complex", "str", "len")
_TYPED = ("annotate", "unchecked_cast", "uninitialized", "isinstance")
_RESERVED = frozenset(
    (*_ROOTS, *_CONVERSIONS, *_TYPED, "getattr", "range", "inf", "nan", "print", "fork", "Module")
)
_TYPES = frozenset(
    ["Tensor", "int", "float", "bool", "str", "complex", "number", "NoneType", "None", "Device", "Any", "Layout"]
)
_GENERIC = frozenset(["Optional", "List", "Tuple", "Dict", "Final", "Union"])
_METHODS = re.compile(r"(?!__)\w+|__len__|__contains__|__getitem__|__call__", re.ASCII)
"""Allowed method names: those that Python or torch call implicitly (`__setstate__`, `__init__`) are refused."""
_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_COMPARE = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
}
_UNARY = {ast.USub: "-", ast.UAdd: "+", ast.Not: "not "}


class Refused(Exception):
    """The code contains something that no image network needs; the message says what."""


@dataclass
class Class:
    """A module's class: the types of its attributes (full name of a class, "" for plain values) and its
    methods."""

    attributes: dict[str, str] = field(default_factory=dict)
    slots: set[str] = field(default_factory=set)
    """The attributes that are stored per object: all but constants."""
    methods: set[str] = field(default_factory=set)


def rewrite(sources: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, Class]]:
    """The rewritten source files, under the same member names, and the classes that they define by full name.

    `sources` are members such as `code/__torch__/torch/nn/modules/conv.py`. Raises Refused, or what Python's
    parser raises for text that is not Python.
    """
    if sum(map(len, sources.values())) > MAX_CODE:
        raise Refused("it has too much code")
    trees = {}
    for member, text in sources.items():
        module = member.removeprefix("code/").removesuffix(".py").replace("/", ".")
        trees[member] = module, ast.parse(text.decode("ascii"))
    classes: dict[str, Class] = {}
    functions: set[str] = set()
    for module, tree in trees.values():
        _declare(module, tree, classes, functions)
    for module, tree in trees.values():
        _type_attributes(module, tree, classes)
    return {
        member: "\n".join(_Writer(module, classes, functions).module(tree)).encode("ascii")
        for member, (module, tree) in trees.items()
    }, classes


def _declare(module: str, tree: ast.Module, classes: dict[str, Class], functions: set[str]) -> None:
    for part in tree.body:
        if isinstance(part, (ast.ClassDef, ast.FunctionDef)):
            name = f"{module}.{part.name}"
            if name in classes or name in functions or not _METHODS.fullmatch(part.name):
                raise Refused(f"its code defines {shown(name)}")
            if isinstance(part, ast.ClassDef):
                classes[name] = Class(methods={m.name for m in part.body if isinstance(m, ast.FunctionDef)})
            else:
                functions.add(name)


def _type_attributes(module: str, tree: ast.Module, classes: dict[str, Class]) -> None:
    for part in tree.body:
        if not isinstance(part, ast.ClassDef):
            continue
        attributes = classes[f"{module}.{part.name}"].attributes
        for line in part.body:
            name, annotation = _attribute(line)
            if annotation is not None:
                if name in attributes:
                    raise Refused(f"its code declares {shown(name)} twice")
                dotted = _dotted(annotation)
                attributes[name] = dotted if dotted in classes else ""
                if not isinstance(line, ast.AnnAssign) or line.value is None:
                    classes[f"{module}.{part.name}"].slots.add(name)


def _attribute(line: ast.stmt) -> tuple[str, ast.expr | None]:
    """Name and type of the attribute that a line declares: `weight : Tensor` or `__annotations__["0"] = Type`."""
    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
        return line.target.id, line.annotation
    if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Subscript):
        target = line.targets[0]
        if (
            isinstance(target.value, ast.Name)
            and target.value.id == "__annotations__"
            and isinstance(target.slice, ast.Constant)
            and isinstance(target.slice.value, str)
        ):
            return target.slice.value, line.value
    return "", None


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text; "" for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def quoted(text: str) -> str:
    """A string literal that torch's tokenizer and Python's read identically. Raises Refused for other
    characters."""
    if any(not (" " <= character <= "~" or character in "\n\t") for character in text):
        raise Refused("its code has a text with control characters")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


class _Writer:
    """Writes one source file from its tree."""

    def __init__(self, module: str, classes: Mapping[str, Class], functions: set[str]) -> None:
        self.module_name, self.classes, self.functions = module, classes, functions
        self.kinds: dict[str, str] = {}
        """The kinds of local names: the full name of a class or function, "" for plain values."""

    def module(self, tree: ast.Module) -> Iterator[str]:
        for part in tree.body:
            if isinstance(part, ast.ClassDef):
                yield from self.class_(part)
            elif isinstance(part, ast.FunctionDef):
                yield from self.function(part, "", "")
            else:
                raise self.refused(part)
        yield ""

    def class_(self, part: ast.ClassDef) -> Iterator[str]:
        bases = [base.id if isinstance(base, ast.Name) else "" for base in part.bases]
        if bases != ["Module"] or part.keywords or part.decorator_list:
            raise Refused(f"its class {shown(part.name)} is not a module")
        yield f"class {_name(part.name)}(Module):"
        for line in part.body:
            name, annotation = _attribute(line)
            if isinstance(line, ast.FunctionDef):
                yield from self.function(line, "  ", f"{self.module_name}.{part.name}")
            elif annotation is not None and isinstance(line, ast.AnnAssign):
                value = "" if line.value is None else f" = {self.literal(line.value)}"
                yield f"  {_name(name)} : {self.type(annotation)}{value}"
            elif annotation is not None:
                yield f"  __annotations__[{quoted(name)}] = {self.type(annotation)}"
            elif (
                isinstance(line, ast.Assign)
                and len(line.targets) == 1
                and _dotted(line.targets[0]) in ("__parameters__", "__buffers__", "__annotations__")
            ):
                yield f"  {_dotted(line.targets[0])} = {self.names(line.value)}"
            elif not isinstance(line, ast.Pass):
                raise self.refused(line)
        if len(part.body) == 1 and isinstance(part.body[0], ast.Pass):
            yield "  pass"

    def names(self, node: ast.expr) -> str:
        if not isinstance(node, ast.List):
            raise self.refused(node)
        return f"[{''.join(f'{self.literal(item)}, ' for item in node.elts)}]"

    def literal(self, node: ast.expr) -> str:
        """A constant, or a list or tuple of constants."""
        if isinstance(node, ast.Constant):
            return _constant(node.value)
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.USub)
            and isinstance(node.operand, ast.Constant)
        ):
            return f"-{_constant(node.operand.value)}"
        if isinstance(node, ast.List):
            return f"[{', '.join(map(self.literal, node.elts))}]"
        if isinstance(node, ast.Tuple):
            return _tuple([self.literal(item) for item in node.elts])
        if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
            return node.id
        raise self.refused(node)

    def type(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and node.value is None:
            return "None"
        dotted = _dotted(node)
        if dotted in _TYPES or dotted in self.classes:
            return dotted
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in _GENERIC:
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return f"{node.value.id}[{', '.join(map(self.type, inner)) or '()'}]"
        raise Refused(f"its code has a value of the type {shown(dotted or ast.unparse(node))}")

    # --- functions and statements

    def function(self, part: ast.FunctionDef, indent: str, owner: str) -> Iterator[str]:
        arguments = part.args
        if (
            not _METHODS.fullmatch(part.name)
            or part.decorator_list
            or arguments.posonlyargs
            or arguments.vararg
            or arguments.kwarg
            or part.returns is None
        ):
            raise Refused(f"its code defines the function {shown(part.name)}")
        self.kinds = {}
        defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
        parts = [self.argument(arg, default) for arg, default in zip(arguments.args, defaults, strict=True)]
        if arguments.kwonlyargs:
            parts.append("*")
            parts += [
                self.argument(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            ]
        if owner and (not arguments.args or self.kinds.get(arguments.args[0].arg) != owner):
            raise Refused(f"its method {shown(part.name)} is not one of its own class")
        yield f"{indent}def {_name(part.name)}({', '.join(parts)}) -> {self.type(part.returns)}:"
        yield from self.block(part.body, indent + "  ")

    def argument(self, argument: ast.arg, default: ast.expr | None) -> str:
        if argument.annotation is None:
            raise Refused("its code has an argument without a type")
        dotted = _dotted(argument.annotation)
        self.bind(argument.arg, dotted if dotted in self.classes else "")
        value = "" if default is None else f"={self.literal(default)}"
        return f"{_name(argument.arg)}: {self.type(argument.annotation)}{value}"

    def bind(self, name: str, kind: str) -> None:
        """Record the kind of a name. Raises Refused where a name changes its kind."""
        if name in _RESERVED or self.kinds.setdefault(name, kind) != kind:
            raise Refused(f"its code gives the name {shown(name)} another meaning")

    def block(self, body: list[ast.stmt], indent: str) -> Iterator[str]:
        for line in body:
            yield from self.statement(line, indent)

    def statement(self, line: ast.stmt, indent: str) -> Iterator[str]:
        match line:
            case ast.Pass():
                yield f"{indent}pass"
            case ast.Return(value):
                yield f"{indent}return {'None' if value is None else self.expression(value)}"
            case ast.Expr(ast.Call(func=func)) if _dotted(func) in ("print", "torch.warn", "ops.aten.warn"):
                yield f"{indent}pass"
            case ast.Expr(ast.Call() as call):
                yield f"{indent}{self.expression(call)}"
            case ast.Assign([target], value):
                yield f"{indent}{self.target(target, value)} = {self.expression(value)}"
            case ast.AnnAssign(ast.Name(name), annotation, ast.expr() as value):
                self.bind(name, "")
                yield f"{indent}{_name(name)} : {self.type(annotation)} = {self.expression(value)}"
            case ast.If(test, body, orelse):
                yield f"{indent}if {self.expression(test)}:"
                yield from self.block(body, indent + "  ")
                if orelse:
                    yield f"{indent}else:"
                    yield from self.block(orelse, indent + "  ")
            case ast.For(ast.Name(name), ast.Call(ast.Name("range"), args, []), body, []):
                self.bind(name, "")
                yield f"{indent}for {_name(name)} in range({self.expressions(args)}):"
                yield from self.block(body, indent + "  ")
            case _:
                raise self.refused(line)

    def target(self, target: ast.expr, value: ast.expr) -> str:
        match target:
            case ast.Name(name):
                self.bind(name, self.kind(value))
                return _name(name)
            case ast.Tuple(elts):
                names = [part.id for part in elts if isinstance(part, ast.Name)]
                if len(names) != len(elts) or not names:
                    raise self.refused(target)
                for name in names:
                    self.bind(name, "")
                return "".join(f"{_name(name)}, " for name in names).rstrip()
            case ast.Attribute(owner, attribute):
                if self.classes.get(self.kind(owner), Class()).attributes.get(attribute) != "":
                    raise self.refused(target)
                return f"{self.expression(owner)}.{_name(attribute)}"
        raise self.refused(target)

    # --- expressions

    def kind(self, node: ast.expr) -> str:
        """The full name of the class or function that an expression evaluates to; "" for a plain value."""
        match node:
            case ast.Name(name):
                return self.kinds.get(name, "")
            case ast.Attribute(owner, attribute):
                dotted = _dotted(node)
                if dotted in self.functions:
                    return dotted
                return self.classes.get(self.kind(owner), Class()).attributes.get(attribute, "")
            case ast.Call(ast.Name("getattr"), [owner, ast.Constant(str() as attribute)], []):
                return self.classes.get(self.kind(owner), Class()).attributes.get(attribute, "")
        return ""

    def expressions(self, nodes: list[ast.expr]) -> str:
        return ", ".join(map(self.expression, nodes))

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value):
                return _constant(value)
            case ast.Name(name):
                if name not in self.kinds and name not in ("inf", "nan"):
                    raise Refused(f"its code uses {shown(name)}, which is not defined")
                return _name(name)
            case ast.Tuple(elts):
                return _tuple([self.expression(item) for item in elts])
            case ast.List(elts):
                return f"[{self.expressions(elts)}]"
            case ast.Dict(keys, values) if all(key is not None for key in keys):
                pairs = zip(keys, values, strict=True)
                return "{" + ", ".join(f"{self.expression(k)}: {self.expression(v)}" for k, v in pairs if k) + "}"
            case ast.Attribute():
                return self.attribute(node)
            case ast.Subscript(value, ast.Slice(lower, upper, step)):
                bounds = ["" if part is None else self.expression(part) for part in (lower, upper, step)]
                return f"({self.expression(value)})[{':'.join(bounds if bounds[2] else bounds[:2])}]"
            case ast.Subscript(value, index):
                return f"({self.expression(value)})[{self.expression(index)}]"
            case ast.Call():
                return self.call(node)
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return f"({self.expression(left)} {_BINARY[type(op)]} {self.expression(right)})"
            case ast.Compare(left, [op], [right]) if type(op) in _COMPARE:
                return f"({self.expression(left)} {_COMPARE[type(op)]} {self.expression(right)})"
            case ast.BoolOp(op, values):
                word = " and " if isinstance(op, ast.And) else " or "
                return f"({word.join(map(self.expression, values))})"
            case ast.UnaryOp(op, operand) if type(op) in _UNARY:
                inner = self.expression(operand)
                plain = isinstance(operand, ast.Constant)
                return f"{_UNARY[type(op)]}{inner}" if plain else f"({_UNARY[type(op)]}({inner}))"
            case ast.IfExp(test, body, orelse):
                return f"({self.expression(body)} if {self.expression(test)} else {self.expression(orelse)})"
        raise self.refused(node)

    def attribute(self, node: ast.Attribute) -> str:
        dotted = _dotted(node)
        if dotted in self.functions:
            return dotted
        if dotted == f"CONSTANTS.{node.attr}" and _CONSTANT.fullmatch(node.attr):
            return dotted
        owner = self.kind(node.value)
        if owner not in self.classes or node.attr not in self.classes[owner].attributes:
            raise Refused(f"its code reads the attribute {shown(dotted or ast.unparse(node))}")
        return f"({self.expression(node.value)}).{_name(node.attr)}"

    def call(self, node: ast.Call) -> str:
        if any(keyword.arg is None for keyword in node.keywords):
            raise self.refused(node)
        function = node.func
        if isinstance(function, ast.Name) and function.id in _TYPED:
            return self.typed(function.id, node)
        if isinstance(function, ast.Name) and function.id == "getattr":
            return self.getattr(node)
        keywords = [f"{_name(keyword.arg or '')}={self.expression(keyword.value)}" for keyword in node.keywords]
        arguments = ", ".join([*map(self.expression, node.args), *keywords])
        return f"{self.callee(function)}({arguments})"

    def callee(self, function: ast.expr) -> str:
        dotted = _dotted(function)
        root, _, name = dotted.partition(".")
        if dotted in self.functions or dotted in _CONVERSIONS:
            return dotted
        if isinstance(function, ast.Name) and self.kinds.get(function.id) in self.functions:
            return _name(function.id)
        if root == "torch" and (is_tensor_operator(name) or name in LANGUAGE):
            return dotted
        if root == "ops":
            space, _, operator = name.partition(".")
            if (space == "aten" and is_tensor_operator(operator)) or (space == "prim" and operator in PRIMITIVES):
                return dotted
        if isinstance(function, ast.Attribute):
            owner = self.classes.get(self.kind(function.value))
            if owner is not None and function.attr in owner.methods:
                return f"({self.expression(function.value)}).{_name(function.attr)}"
        raise Refused(f"its code calls {shown(dotted or ast.unparse(function))}")

    def typed(self, name: str, node: ast.Call) -> str:
        """annotate(Type, value), unchecked_cast(Type, value), uninitialized(Type), isinstance(value, [Types])."""
        if node.keywords:
            raise self.refused(node)
        if name == "uninitialized" and len(node.args) == 1:
            return f"uninitialized({self.type(node.args[0])})"
        if len(node.args) != 2:
            raise self.refused(node)
        first, second = node.args
        if name == "isinstance":
            types = second.elts if isinstance(second, (ast.List, ast.Tuple)) else [second]
            names = ", ".join(map(self.type, types))
            brackets = {ast.List: "[{}]", ast.Tuple: "({},)"}.get(type(second), "{}")
            return f"isinstance({self.expression(first)}, {brackets.format(names)})"
        return f"{name}({self.type(first)}, {self.expression(second)})"

    def getattr(self, node: ast.Call) -> str:
        match node:
            case ast.Call(args=[owner, ast.Constant(str() as name)], keywords=[]):
                if name in self.classes.get(self.kind(owner), Class()).attributes:
                    return f"getattr({self.expression(owner)}, {quoted(name)})"
        raise self.refused(node)

    def refused(self, node: ast.AST) -> Refused:
        line = getattr(node, "lineno", 0)
        return Refused(f"its code has a {type(node).__name__} in line {line} of {self.module_name[:80]}")


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refused(f"its code has the name {shown(name)}")
    return name


def _tuple(items: list[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _constant(value: object) -> str:
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int) and value < 1 << 64:
        return repr(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, complex) and math.isfinite(value.imag) and not value.real:
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    raise Refused(f"its code has a constant of the type {type(value).__name__}")
