"""What a page says in Markdown or HTML holds no text from outside but through one function.

A run's title, a label, the name of an image, an error, a part of the address: none of it is ever rendered.
This walks the syntax tree of `app/` and `pages/`. What goes into a call that Streamlit renders as Markdown
has to be a constant, a number, made of such, or has passed `plain` or `code`; what stands in a text with HTML
tags has to have passed `escape`. Names and functions are followed to where they are made, through all modules
of the app; what cannot be followed, and is the program's own, is in `OURS`.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from core.files import PROJECT

FILES = sorted([*(PROJECT / "app").rglob("*.py"), *(PROJECT / "pages").glob("*.py")])

# What Streamlit renders, and `permalink.note`: which positional arguments; these keywords of all of them.
FIRST = """
    markdown caption header subheader warning error info success toast badge button download_button
    link_button expander popover spinner slider select_slider text_input text_area number_input checkbox
    toggle selectbox multiselect file_uploader form_submit_button note tabs
"""
RENDERED = dict.fromkeys(FIRST.split(), (0,)) | dict.fromkeys(("radio", "segmented_control", "pills"), (0, 1))
RENDERED |= {"st.title": (0,), "page_link": (), "progress": (1,), "image": (1,), "metric": (0, 1, 2)}
KEYWORDS = ("label", "body", "text", "help", "caption", "captions", "tabs", "options", "format_func")
LISTS = ("selectbox", "multiselect", "select_slider")  # their entries are drawn as text

SAFE = {"markdown": ("plain", "code"), "html": ("escape", "b64encode")}
NUMBERS = {
    "len", "int", "float", "bool", "round", "sum", "abs", "percent", "score", "range", "enumerate", "index",
    "mean", "shape",
}  # fmt: skip
SAME = {
    "capitalize", "lower", "upper", "strip", "rstrip", "lstrip", "removesuffix", "removeprefix", "replace",
    "join", "split",
}  # fmt: skip
PASSED = {
    "str", "list", "tuple", "sorted", "dict", "set", "zip", "min", "max", "reversed", "next", "iter",
    "filter", "append", "extend",
}  # fmt: skip
NUMERIC = ("int", "float", "bool", "int | None", "float | None")  # annotations, which mypy holds
FORMATS = tuple("deEfFgGn%,")  # of a number; text with one is an error

# The program's own words where the walk does not see that they are: file to expressions as they stand there.
OURS: dict[str, set[str]] = {
    "app/kit/how_read.py": {"settings.field(field).title", "setting.help"},  # of a field of `Reading`
    "app/kit/permalink.py": {"notes.texts", "text"},  # `note` is walked where it is called
    "app/kit/tables.py": {"parts", "head", "widths", "html", "line.cells"},  # likewise, and what has tags
    "app/kit/tab.py": {"(Path(__file__).parent / 'tab.js').read_text()"},
    "app/kit/data_view.py": {"info.where", "info.labels"},
    "app/mechanism/distributions.py": {"_macl(key, params)"},
    "app/data/labels.py": {"np.isnan(v)"},
}
# Of core, whose words are its own.
TRUSTED = {"core.experiments.duration.words", "core.queue.launcher.set_up", "time.strftime"}


@dataclass(frozen=True)
class Where:
    """A place in the code: a module, and the functions around it, innermost last."""

    path: Path
    around: tuple[ast.FunctionDef | ast.Lambda, ...] = ()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module(dotted: str) -> Path | None:
    """The file of a module of the app."""
    path = PROJECT.joinpath(*dotted.split(".")).with_suffix(".py")
    return path if path in FILES else None


@cache
def imported(path: Path) -> dict[str, str]:
    """What a module imports: the name there, and where it is from."""
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
    return {one.asname or one.name: f"{node.module}.{one.name}" for node in nodes for one in node.names}


@cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)}


def ours(path: Path) -> set[str]:
    return OURS.get(str(path).removeprefix(f"{PROJECT}/"), set())


def holds_name(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def values_of(name: str, place: ast.AST) -> Iterator[ast.expr]:
    """Every expression that becomes a name, or a part of it, in a function or a module."""
    for node in ast.walk(place):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from bound(name, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from bound(name, target, value)
            case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                yield from bound(name, target, value)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield from looped(name, target, value)
            case ast.With(items=items):
                for item in items:
                    if item.optional_vars is not None and holds_name(item.optional_vars, name):
                        yield item.context_expr
            case ast.ExceptHandler(name=caught) if caught == name:
                yield ast.Name("an error")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=to), attr=how)) if (
                to == name and how in PASSED
            ):
                yield from node.args


def bound(name: str, target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from bound(name, one, its)
    elif holds_name(target, name) and not isinstance(target, ast.Attribute):
        yield value


def looped(name: str, target: ast.expr, over: ast.expr) -> Iterator[ast.expr]:
    if not holds_name(target, name):
        return
    if isinstance(target, ast.Tuple) and isinstance(over, ast.Tuple | ast.List):
        for element in over.elts:
            yield from bound(name, target, element)
    elif isinstance(target, ast.Tuple) and isinstance(over, ast.Call) and ast.unparse(over.func) == "zip":
        for one, its in zip(target.elts, over.args, strict=False):
            yield from looped(name, one, its)
    elif (
        isinstance(target, ast.Tuple) and isinstance(over, ast.Call) and ast.unparse(over.func) == "enumerate"
    ):
        yield from looped(name, target.elts[1], over.args[0])
    elif (
        isinstance(target, ast.Tuple)
        and isinstance(over, ast.Call)
        and ast.unparse(over.func).endswith(".items")
    ):
        yield over
    else:
        yield over


class Walk:
    """What in an expression may be from outside, in words; empty if nothing may."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.open: set[tuple[str, int]] = set()  # being looked at: what is made of itself

    def first(self, nodes: Sequence[ast.expr | None], where: Where) -> str:
        return next((wrong for node in nodes if node and (wrong := self.look(node, where))), "")

    def look(self, node: ast.expr, where: Where) -> str:
        if ast.unparse(node) in ours(where.path):
            return ""
        match node:
            case ast.Constant() | ast.Compare():
                return ""
            case ast.JoinedStr(values=values):
                return "" if self.kind == "html" and has_tag(node) else self.first(values, where)
            case ast.FormattedValue(value=value, format_spec=spec):
                number = spec is not None and format_of(spec).endswith(FORMATS)
                return "" if number else self.look(value, where)
            case ast.BinOp(left=left, right=right):
                return self.first([left, right], where)
            case ast.UnaryOp(operand=value) | ast.Starred(value=value) | ast.Lambda(body=value):
                return self.look(value, where)
            case ast.Subscript(value=value) | ast.NamedExpr(value=value):
                return self.look(value, where)
            case ast.BoolOp(values=values):
                return self.first(values, where)
            case ast.IfExp(body=one, orelse=other):
                return self.first([one, other], where)
            case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                return self.first(values, where)
            case ast.Dict(keys=keys, values=values):
                return self.first([*keys, *values], where)
            case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value) | ast.SetComp(elt=value):
                return self.look(value, where)
            case ast.DictComp(key=key, value=value):
                return self.first([key, value], where)
            case ast.Call():
                return self.call(node, where)
            case ast.Name(id=name):
                return self.name(name, where)
            case ast.Attribute(value=value, attr=attr):
                return self.attribute(value, attr, where)
        return ast.unparse(node)

    def name(self, name: str, where: Where) -> str:
        """A constant of the program, or what a name is made of where it stands."""
        if name in SAFE[self.kind]:  # as a function that is handed over
            return ""
        if name.isupper() and name != "LOSSES":  # among which are those of a person
            return ""
        for depth in range(len(where.around), -1, -1):
            place = where.around[depth - 1] if depth else tree(where.path)
            here = Where(where.path, where.around[:depth])
            if depth and (given := parameter(name, place)) is not None:
                return self.given(name, given, place, where)
            if values := list(values_of(name, place)):
                return self.once(name, place, values, here)
        if name in functions(where.path):
            return self.returned(where.path, name)
        return self.of_module(imported(where.path)[name]) if name in imported(where.path) else name

    def once(self, name: str, place: ast.AST, values: Sequence[ast.expr | None], where: Where) -> str:
        if (name, id(place)) in self.open:
            return ""
        self.open.add((name, id(place)))
        wrong = self.first(values, where)
        self.open.discard((name, id(place)))
        return wrong and f"{name} <- {wrong}"

    def given(self, name: str, given: ast.arg, place: ast.AST, where: Where) -> str:
        """A parameter: a number by its annotation; else what all calls of a private function hand over."""
        said = ast.unparse(given.annotation) if given.annotation else ""
        if said in NUMERIC or said.startswith("Literal"):
            return ""
        if not isinstance(place, ast.FunctionDef) or not place.name.startswith("_"):
            return f"{name}, a parameter"
        names = [one.arg for one in place.args.args]
        handed: list[tuple[ast.expr, Where]] = []
        for call, around in calls(where.path):
            if ast.unparse(call.func) == place.name:
                here = Where(where.path, around)
                handed += [(one.value, here) for one in call.keywords if one.arg == name]
                if name in names and names.index(name) < len(call.args):
                    handed.append((call.args[names.index(name)], here))
        if not handed or (name, id(place)) in self.open:
            return "" if handed else f"{name}, a parameter"
        self.open.add((name, id(place)))
        wrong = next((why for one, here in handed if (why := self.look(one, here))), "")
        self.open.discard((name, id(place)))
        return wrong and f"{name} <- {wrong}"

    def of_module(self, dotted: str) -> str:
        """A name of another module."""
        before, _, name = dotted.rpartition(".")
        if (path := module(before)) is None:
            return dotted
        return self.returned(path, name) if name in functions(path) else self.name(name, Where(path))

    def returned(self, path: Path, name: str) -> str:
        """What a function gives back."""
        node = functions(path)[name]
        said = ast.unparse(node.returns) if node.returns else ""
        if said in NUMERIC or said.startswith("Literal") or name in ours(path):
            return ""
        found = [one.value for one in ast.walk(node) if isinstance(one, ast.Return | ast.Yield)]
        return self.once(f"{name}()", node, found, Where(path, (node,)))

    def call(self, node: ast.Call, where: Where) -> str:
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        if last in SAFE[self.kind] or last in NUMBERS:
            return ""
        if called == "map":
            return "" if ast.unparse(node.args[0]) in SAFE[self.kind] else self.first(node.args, where)
        if isinstance(node.func, ast.Attribute) and last in (*SAME, "format"):
            return self.first([node.func.value, *node.args], where)
        if isinstance(node.func, ast.Attribute) and last in ("values", "keys", "items", "get", "pop"):
            return self.first([node.func.value, *node.args[1:]], where)
        if called in PASSED:
            return self.first(node.args, where)
        if called in functions(where.path):
            return self.returned(where.path, called)
        if dotted(called, where.path) in TRUSTED:
            return ""
        if called in imported(where.path) and module(imported(where.path)[called].rpartition(".")[0]):
            return self.of_module(imported(where.path)[called])
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            path = module(imported(where.path).get(node.func.value.id, ""))
            if path and last in functions(path):
                return self.returned(path, last)
        return f"{called}(…)"

    def attribute(self, value: ast.expr, attr: str, where: Where) -> str:
        """Of a module of the app, or of an entry of one of the program's own tables."""
        if isinstance(value, ast.Name) and (path := module(imported(where.path).get(value.id, ""))):
            return self.returned(path, attr) if attr in functions(path) else self.name(attr, Where(path))
        if attr.isupper() or attr in NUMBERS:
            return ""
        if isinstance(value, ast.Subscript) or attr == "__getitem__":
            return self.look(value, where)
        return f"{ast.unparse(value)}.{attr}"


def format_of(spec: ast.expr) -> str:
    """The constant end of a format."""
    last = spec.values[-1] if isinstance(spec, ast.JoinedStr) and spec.values else spec
    return str(last.value) if isinstance(last, ast.Constant) else "f"  # `:.{digits}f` ends in a constant


def dotted(called: str, path: Path) -> str:
    """Where a function that is called comes from."""
    holder, _, rest = called.partition(".")
    return f"{imported(path).get(holder, holder)}.{rest}".rstrip(".")


def parameter(name: str, place: ast.AST) -> ast.arg | None:
    assert isinstance(place, ast.FunctionDef | ast.Lambda)
    every = [*place.args.posonlyargs, *place.args.args, *place.args.kwonlyargs, place.args.vararg]
    return next((one for one in every if one and one.arg == name), None)


def has_tag(node: ast.JoinedStr) -> bool:
    """Whether a text is HTML: it opens or closes a tag."""
    texts = [one.value for one in node.values if isinstance(one, ast.Constant)]
    return any(f"<{letter}" in str(text) for text in texts for letter in "/abcdefghijklmnopqrstuvwxyz")


@cache
def calls(path: Path) -> list[tuple[ast.Call, tuple[ast.FunctionDef | ast.Lambda, ...]]]:
    return [(node, around) for node, around in nodes(path) if isinstance(node, ast.Call)]


def nodes(path: Path) -> Iterator[tuple[ast.AST, tuple[ast.FunctionDef | ast.Lambda, ...]]]:
    """All of a module, each with the functions around it."""

    def visit(node: ast.AST, around: tuple[ast.FunctionDef | ast.Lambda, ...]) -> Iterator:  # type: ignore[type-arg]
        inner = (*around, node) if isinstance(node, ast.FunctionDef | ast.Lambda) else around
        for child in ast.iter_child_nodes(node):
            yield child, inner
            yield from visit(child, inner)

    yield from visit(tree(path), ())


def rendered(path: Path) -> Iterator[tuple[ast.expr, Where, str]]:
    """Every expression that becomes Markdown, where, and in which call."""
    for call, around in calls(path):
        called = ast.unparse(call.func)
        last = called if called in ("st.title", "note") else called.rpartition(".")[2]
        if last in RENDERED and ("." in called or called == "note") and called != "report.warning":
            shown = next((ast.unparse(one.value) for one in call.keywords if one.arg == "format_func"), "")
            listed = last in LISTS or shown in SAFE["markdown"]
            keywords = KEYWORDS[:-2] if listed else KEYWORDS
            given = [call.args[n] for n in RENDERED[last] if n < len(call.args) and not (n and listed)]
            given += [one.value for one in call.keywords if one.arg in keywords]
            yield from ((one, Where(path, around), called) for one in given)


def in_tags(path: Path) -> Iterator[tuple[ast.expr, Where]]:
    """Every expression that stands in a text with tags; figures have others."""
    if "figures" in path.parts:
        return
    for node, around in nodes(path):
        if isinstance(node, ast.JoinedStr) and has_tag(node):
            yield from (
                (one, Where(path, around)) for one in node.values if isinstance(one, ast.FormattedValue)
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("Line", "tables.Line"):
            yield node.args[0], Where(path, around)


def found(path: Path) -> list[str]:
    """What is wrong in a module."""
    wrong = []
    for node, where, called in rendered(path):
        if why := Walk("markdown").look(node, where):
            wrong.append(
                f"line {node.lineno}, {called}: {why}: through `plain` or `code` of app/kit/words.py"
            )
    for node, where in in_tags(path):
        if why := Walk("html").look(node, where):
            wrong.append(f"line {node.lineno}, in tags: {why}: through `escape`")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_from_outside_is_rendered(path: Path) -> None:
    assert not (wrong := found(path)), "\n".join(wrong)


RENDERS = [
    "st.caption(run.title)",
    'st.error(f"It failed: {run.error}")',
    'st.button("Open", help=run.title)',
    "st.tabs([run.title for run in runs])",
    'st.radio("Run", [run.title])',
    "st.progress(0.5, run.title)",
    'left.metric("Run", run.title)',
    "st.image(picture, caption=name)",
    'note("No " + st.query_params["run"])',
    'label = run.title\n    st.markdown(f"**{label}**")',
    "try:\n        go()\n    except OSError as error:\n        st.error(str(error))",
    "for name, _ in names:\n        st.caption(name)",
    "st.markdown(title_of(run))",
    'st.html(f"<b>{run.title}</b>")',
    'Line([run.title, "1"])',
]
DOES_NOT = [
    'st.caption(f"{plain(run.title)}: {len(run.rows)} rows, {run.loss:.3f}, {100 * run.share:.0f} %")',
    'label = plain(run.title)\n    st.markdown(f"**{label}**")',
    'st.caption(" · ".join(map(plain, names)))',
    'st.radio("Run", [run.title], format_func=plain)',
    'st.selectbox("Run", [run.title])',
    "st.markdown(code(run.id))",
    'st.caption(_said("all") + (" and more" if more else ""))',
    'st.html(f"<b>{escape(run.title)}</b>")',
]
HEAD = """
def title_of(run):
    return f"Run {run.title}"

def _said(word):
    return f"{word} runs"

def page(run, runs, names, picture, more):
    """


@pytest.mark.parametrize("line", RENDERS)
def test_the_walk_sees_what_is_rendered(line: str, tmp_path: Path) -> None:
    path = tmp_path / f"{abs(hash(line))}.py"
    path.write_text(HEAD + line)
    assert len(found(path)) == 1


@pytest.mark.parametrize("line", DOES_NOT)
def test_the_walk_leaves_the_rest(line: str, tmp_path: Path) -> None:
    path = tmp_path / f"{abs(hash(line))}.py"
    path.write_text(HEAD + line)
    assert found(path) == []
