"""Registries of methods whose names and options are known without importing the modules behind them.

A method registers itself with a decorator on its class or function:

    @objectives.register("simclr")
    class SimCLR(Objective):
        def __init__(self, backbone_dim: int, *, temperature: Positive = 0.5) -> None: ...

Positional parameters are handed in by the framework; keyword-only parameters are the method's options, with their
types, defaults and ranges, in an experiment file. The registry parses the package's files (`ast`) and imports one
only when it is used, so `fedmetric --help`, `list` and the checks of an experiment never load torch. A name of the
form `package.module:attribute` reaches a method that lives outside fedmetric.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from fedmetric import options
from fedmetric.errors import ConfigError

T = TypeVar("T")
EXTERNAL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or nothing when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f"; did you mean '{close[0]}'?" if close else ""


@dataclass(frozen=True)
class Parameter:
    """One option of a method: the source text of its annotation and default, and its line of the docstring."""

    name: str
    annotation: str
    default: str | None
    description: str


@dataclass(frozen=True)
class Entry:
    """A registered method as it stands in its file, not yet imported.

    `traits` are the literals that the class body assigns, such as `needs_labels = True`; what it inherits is not in
    there, so a base class's value is the default. `document` is the module's docstring, which names the paper.
    """

    kind: str
    name: str
    module: str
    attribute: str
    summary: str
    parameters: tuple[Parameter, ...] = field(default=())
    traits: Mapping[str, Any] = field(default_factory=dict)
    document: str = ""

    def load(self) -> Callable[..., Any]:
        """Import the method's module and return the registered class or function.

        Raises:
            ConfigError: the module or the attribute does not exist, or importing it fails.
        """
        try:
            return getattr(importlib.import_module(self.module), self.attribute)  # type: ignore[no-any-return]
        except Exception as error:  # whatever a module outside fedmetric does when it is imported
            raise ConfigError(f"{self.kind} '{self.name}' cannot be loaded: {error}") from error

    @cached_property
    def options(self) -> type[Component]:
        """Build the pydantic model of this method's section of an experiment file."""
        return _options_model(self)


class Registry(Mapping[str, Entry]):
    """All methods of one kind, found by reading the files of one package."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package

    def register(self, name: str) -> Callable[[T], T]:
        """Mark a class or function as the method called `name`; the mark itself is read by `ast`."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise ValueError(f"a registered name is lower-case letters, digits and '-': {name!r}")
        return lambda method: method

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(self.package)
        found: dict[str, Entry] = {}
        for folder in spec.submodule_search_locations:
            for path in sorted(Path(folder).glob("*.py")):
                for entry in _scan(self.kind, f"{self.package}.{path.stem}", path):
                    if entry.name in found:
                        raise ValueError(f"{self.kind} '{entry.name}' is registered twice, again in {path.name}")
                    found[entry.name] = entry
        return found

    def __getitem__(self, name: str) -> Entry:
        if name in self._entries:
            return self._entries[name]
        if EXTERNAL.fullmatch(name):
            return self._external(name)
        known = ", ".join(sorted(self._entries))
        raise ConfigError(f"unknown {self.kind} '{name}'{nearest(name, self._entries)}; known: {known}, or module:name")

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def _external(self, name: str) -> Entry:
        module, attribute = name.split(":")
        entry = Entry(self.kind, name, module, attribute, "external")
        method = entry.load()
        doc = inspect.getdoc(method) or ""
        traits = {key: value for key, value in inspect.getmembers(method) if not key.startswith("_")}
        return Entry(self.kind, name, module, attribute, doc.split("\n")[0], traits=traits)

    def build(self, component: BaseModel, *context: object) -> Any:
        """Construct the method that a section of an experiment names, with its options."""
        chosen = component.model_dump()
        method = self[chosen.pop("name")].load()
        try:
            inspect.signature(method).bind(*context, **chosen)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.kind} '{component.model_dump()['name']}' cannot be built: {error}") from error
        return method(*context, **chosen)


def _scan(kind: str, module: str, path: Path) -> Iterator[Entry]:
    source = path.read_text(encoding="utf-8")
    if ".register(" not in source:
        return
    tree = ast.parse(source, str(path))
    origin = ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Attribute(attr="register"), args=[ast.Constant(value=str(name))]):
                        doc = ast.get_docstring(node) or ""
                        summary = doc.split("\n")[0]
                        yield Entry(
                            kind, name, module, node.name, summary, _parameters(node, doc), _traits(node), origin
                        )


def _traits(node: ast.ClassDef | ast.FunctionDef) -> dict[str, Any]:
    """Collect what the class body assigns to names, where the value is a literal."""
    found: dict[str, Any] = {}
    for statement in node.body if isinstance(node, ast.ClassDef) else []:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    found[name] = ast.literal_eval(value)
                except ValueError:
                    continue
    return found


def _parameters(node: ast.ClassDef | ast.FunctionDef, doc: str) -> tuple[Parameter, ...]:
    signature: ast.FunctionDef | None = node if isinstance(node, ast.FunctionDef) else None
    if isinstance(node, ast.ClassDef):
        signature = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
        doc += "\n" + (ast.get_docstring(signature) or "" if signature else "")
    if signature is None:
        return ()
    described = dict(re.findall(r"^\s{4,}(\w+): (.+(?:\n\s{8,}\S.*)*)", doc, flags=re.MULTILINE))
    return tuple(
        Parameter(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "Any",
            None if default is None else ast.unparse(default),
            " ".join(described.get(argument.arg, "").split()),
        )
        for argument, default in zip(signature.args.kwonlyargs, signature.args.kw_defaults, strict=True)
    )


class Component(BaseModel):
    """The section of an experiment that names a registered method and sets its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str

    def options(self) -> dict[str, Any]:
        """Return the options alone, without the name."""
        return self.model_dump(exclude={"name"})


class ExternalComponent(Component):
    """A method outside fedmetric, named `package.module:attribute`; its options are checked when it is built."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(pattern=EXTERNAL.pattern)


def _options_model(entry: Entry) -> type[Component]:
    """Turn the source text of a signature into a pydantic model; names are those of `fedmetric.options` only."""
    names = {key: value for key, value in vars(options).items() if not key.startswith("__")}
    fields: dict[str, Any] = {"name": (options.Literal[entry.name], entry.name)}
    for parameter in entry.parameters:
        annotation = eval(parameter.annotation, {"__builtins__": _BUILTINS}, names)  # noqa: S307 - our own source files
        default = ... if parameter.default is None else ast.literal_eval(parameter.default)
        fields[parameter.name] = (annotation, Field(default, description=parameter.description or None))
    title = f"{entry.attribute}Options"
    return create_model(title, __base__=Component, __doc__=entry.summary, **fields)


_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, tuple, list, dict)}

backbones = Registry("backbone", "fedmetric.models.backbones")
objectives = Registry("objective", "fedmetric.objectives")
rules = Registry("federation rule", "fedmetric.federation")
sources = Registry("data set", "fedmetric.data.sources")
partitioners = Registry("partitioner", "fedmetric.data.partitions")
views = Registry("views", "fedmetric.views")
samplers = Registry("sampler", "fedmetric.sampling")
distances = Registry("distance", "fedmetric.distances")
miners = Registry("miner", "fedmetric.miners")
mechanisms = Registry("privacy mechanism", "fedmetric.privacy.mechanisms")

REGISTRIES = (
    sources, partitioners, views, samplers, backbones, objectives, distances, miners, rules, mechanisms
)  # fmt: skip
