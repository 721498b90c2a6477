"""The floor plan as a check: what the rooms of the package may import, call, and how big they are.

`flaws` reads the sources and runs nothing. import-linter proves the same imports on the graph;
here also calls, sizes and docstrings are looked at, and an import is named by its line.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

PACKAGE = "tashictl"
# What a room may import of the package beside itself.
MAY_IMPORT = {
    "errors": set[str](),
    "model": {"errors"},
    "planning": {"errors", "model"},
    "ops": {"errors", "model", "planning"},
    "adapters": {"errors", "model"},
    "cli": {"errors", "model", "planning", "ops", "adapters"},
}
PURE = ("errors", "model", "planning")
# fmt: off
IMPURE_MODULES = {
    "asyncio", "click", "concurrent", "ctypes", "dns", "fabric", "fcntl", "getpass", "glob",
    "http", "importlib", "invoke", "io", "logging", "multiprocessing", "os", "paramiko",
    "pathlib", "platform", "pwd", "pycdlib", "pypureomapi", "random", "requests", "rich", "secrets",
    "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "tinydb", "urllib", "uuid"
}
# fmt: on
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
CLOCK_CALLS = {"now", "today", "utcnow"}
MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 49  # the docstring is not counted
MAX_ARGUMENTS = 6  # self is not counted
MAY_PRINT = "cli/output.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(Struct, frozen=True, kw_only=True):
    """A file of the package: `path` is below the package, like ``planning/create.py``."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The room that the file is in; a file beside the rooms is one of its own."""
        return self.path.partition("/")[0].removesuffix(".py")


def read(path: str, text: str) -> Source:
    """A source from its text; raises SyntaxError."""
    return Source(path=path, text=text, tree=ast.parse(text, path))


def sources(package: Path) -> list[Source]:
    """All sources of the package that lies in the folder `package`."""
    return [
        read(str(path.relative_to(package)), path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    ]


def flaws(source: Source) -> list[str]:
    """What is wrong with a source, by every rule, each as ``path:line: what``."""
    return [flaw for rule in RULES for flaw in found(rule, source)]


def found(rule: Rule, source: Source) -> list[str]:
    """What is wrong with a source by one rule."""
    return [f"{PACKAGE}/{source.path}:{line}: {what}" for line, what in rule(source)]


Rule = Callable[[Source], Iterable[tuple[int, str]]]


def upward_imports(source: Source) -> Iterator[tuple[int, str]]:
    """Imports go down: cli > (ops | adapters) > planning > model > errors."""
    for line, name in _imports(source.tree):
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if top != PACKAGE or not room or room == source.room:
            continue
        if room not in MAY_IMPORT.get(source.room, MAY_IMPORT):
            yield line, f"{source.room} imports {room}"


def relative_imports(source: Source) -> Iterator[tuple[int, str]]:
    """Imports are absolute."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "a relative import"


def impure_imports(source: Source) -> Iterator[tuple[int, str]]:
    """A pure room imports nothing that reaches the world."""
    if source.room in PURE:
        for line, name in _imports(source.tree):
            if name.partition(".")[0] in IMPURE_MODULES:
                yield line, f"{source.room} is pure and imports {name}"


def impure_calls(source: Source) -> Iterator[tuple[int, str]]:
    """A pure room opens no file, prints nothing and asks no clock."""
    if source.room not in PURE:
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_CALLS:
                yield node.lineno, f"{source.room} is pure and calls {name}()"
            case ast.Attribute(attr=name) if name in CLOCK_CALLS:
                yield node.lineno, f"{source.room} is pure and calls .{name}()"


def prints(source: Source) -> Iterator[tuple[int, str]]:
    """Only the face's output prints."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == "print" and source.path != MAY_PRINT:
            yield node.lineno, "print outside cli/output"


def late_imports(source: Source) -> Iterator[tuple[int, str]]:
    """Only cli imports ours inside functions: its commands load what they use."""
    if source.room == "cli":
        return
    for function in _functions(source.tree):
        for line, name in _imports(function):
            if name.partition(".")[0] == PACKAGE:
                yield line, f"{function.name} imports {name} when it is called"


def long_functions(source: Source) -> Iterator[tuple[int, str]]:
    """A function is shorter than 50 lines; its docstring is not counted."""
    for function in _functions(source.tree):
        lines = (function.end_lineno or 0) - function.lineno + 1 - _docstring_lines(function)
        if lines > MAX_FUNCTION_LINES:
            yield function.lineno, f"{function.name} has {lines} lines"


def long_files(source: Source) -> Iterator[tuple[int, str]]:
    """A file is shorter than 400 lines."""
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES:
        yield lines, f"the file has {lines} lines"


def many_arguments(source: Source) -> Iterator[tuple[int, str]]:
    """At most six arguments, self not counted; click passes a command each option as one."""
    for function in _functions(source.tree):
        every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        count = len([a for a in every if a.arg not in ("self", "cls")])
        is_command = source.room == "cli" and "pass_obj" in _decorators(function)
        if count > MAX_ARGUMENTS and not is_command:
            yield function.lineno, f"{function.name} takes {count} arguments"


def bare_excepts(source: Source) -> Iterator[tuple[int, str]]:
    """An except says what it catches; BaseException is raised on."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield node.lineno, "a bare except"
        elif ast.unparse(node.type) == "BaseException" and not _raises(node):
            yield node.lineno, "BaseException is caught and not raised on"


def mutable_defaults(source: Source) -> Iterator[tuple[int, str]]:
    """No default of an argument can be changed."""
    for function in _functions(source.tree):
        for default in (*function.args.defaults, *function.args.kw_defaults):
            if isinstance(default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp):
                yield default.lineno, f"{function.name} has a mutable default"


def missing_docstrings(source: Source) -> Iterator[tuple[int, str]]:
    """Every module, public class and public function says what it is."""
    if ast.get_docstring(source.tree) is None:
        yield 1, "the module has no docstring"
    for name, node in _public(source.tree):
        if ast.get_docstring(node) is None:
            yield node.lineno, f"{name} has no docstring"


RULES: tuple[Rule, ...] = (
    upward_imports,
    relative_imports,
    impure_imports,
    impure_calls,
    prints,
    late_imports,
    long_functions,
    long_files,
    many_arguments,
    bare_excepts,
    mutable_defaults,
    missing_docstrings,
)


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each imported name in full; of ``from tashictl import model`` it is ``tashictl.model``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _raises(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


def _docstring_lines(function: Function) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


def _decorators(function: Function) -> set[str]:
    names = set()
    for decorator in function.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(node.attr if isinstance(node, ast.Attribute) else ast.unparse(node))
    return names


def _public(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{inside}{node.name}.")
