"""Recording objects whose surface is that of real bindings, for libraries that need hardware nobody has here.

`Module(real)` looks like the module `real`. A class of it gives recording objects that have exactly the members of the
real class; every call is held against the signature that pybind11 wrote into the docstring: number, names and types of
arguments. What is not there raises, and what cannot be judged raises too. What a call gives comes from `answers`
(`Class.member` -> a value or a function), or is the plainest thing of its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


class SurfaceError(AssertionError):
    """Our code asked for something that these bindings do not have."""


def split(text: str) -> list[str]:
    """At commas that are not inside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([<{") - (letter in ")]>}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


class Signature:
    """One overload: `name(self: a.B, pool: a.C, size: int = 0) -> None`."""

    def __init__(self, arguments: str, result: str) -> None:
        self.parameters: list[tuple[str, str, bool]] = []
        for part in split(arguments):
            name, _, rest = part.partition(": ")
            kind, has_default, _ = rest.partition(" = ")
            self.parameters.append((name, kind.strip(), bool(has_default)))
        self.result = result.strip()

    @classmethod
    def all_of(cls, function: Any) -> list[Signature]:
        pattern = re.compile(r"^(?:\d+\. )?\w+\((?!\*args)(.*)\) -> (.+)$", re.M)
        return [cls(*found) for found in pattern.findall(function.__doc__ or "")]

    def fits(self, judge: Callable[[str, Any], bool], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
        given = dict(zip((name for name, _, _ in self.parameters), arguments, strict=False))
        if len(arguments) > len(self.parameters) or set(named) & set(given):
            return False
        given.update(named)
        names = {name for name, _, _ in self.parameters}
        required = {name for name, _, default in self.parameters if not default}
        if set(given) - names or required - set(given):
            return False
        return all(judge(kind, given[name]) for name, kind, _ in self.parameters if name in given)


class Surface:
    """What was used of one module, and how its objects answer."""

    def __init__(self, real: ModuleType, answers: Mapping[str, Any], subclassed: tuple[str, ...]) -> None:
        self.real, self.answers, self.subclassed = real, answers, subclassed
        self.used: set[str] = set()

    def judge(self, kind: str, value: Any) -> bool:
        """Whether pybind11 would take `value` for a parameter of the C++ or Python type `kind`."""
        base = re.split(r"\.|::", kind)[-1]
        plain = {
            "int": int, "SupportsInt": int, "SupportsIndex": int, "str": str, "bool": bool,
            "buffer": (bytes, bytearray, memoryview), "Buffer": (bytes, bytearray, memoryview),
        }  # fmt: skip
        if base in plain:
            return isinstance(value, plain[base]) and (base == "bool" or not isinstance(value, bool))
        wanted = getattr(self.real, base, None)
        if not isinstance(wanted, type):
            raise SurfaceError(f"cannot judge a {kind}")
        if isinstance(value, Recorded):
            return issubclass(value._kind, wanted)
        return isinstance(value, wanted)

    def give(self, path: str, kind: str, arguments: tuple[Any, ...]) -> Any:
        if path in self.answers:
            answer = self.answers[path]
            return answer(*arguments) if callable(answer) else answer
        base = re.split(r"\.|::", kind)[-1]
        plain = {"None": None, "bool": True, "int": 0, "str": ""}
        if base in plain:
            return plain[base]
        found = getattr(self.real, base, None) or getattr(self.real, base.lstrip("I"), None)
        if not isinstance(found, type):
            raise SurfaceError(f"{path}: no answer for a {kind}")
        return Recorded(self, found)

    def call(self, path: str, function: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        overloads = Signature.all_of(function)
        if not overloads:
            raise SurfaceError(f"{path}: no signature in its docstring")
        for overload in overloads:
            if overload.fits(self.judge, arguments, named):
                return self.give(path, overload.result, (*arguments, *named.values()))
        raise SurfaceError(f"{path}: does not take {arguments[1:]!r} {named!r}; it is {(function.__doc__ or '')[:400]}")


class Recorded:
    """An object of one real class."""

    def __init__(self, surface: Surface, kind: type) -> None:
        object.__setattr__(self, "_surface", surface)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_set", {})

    def _member(self, name: str) -> tuple[str, Any]:
        path = f"{self._kind.__name__}.{name}"
        if not hasattr(self._kind, name):
            raise AttributeError(f"{path} is not there")
        self._surface.used.add(path)
        return path, getattr(self._kind, name)

    def __getattr__(self, name: str) -> Any:
        path, member = self._member(name)
        if isinstance(member, property):
            if name in self._set:
                return self._set[name]
            return self._surface.give(path, Signature.all_of(_anonymous(member.fget))[0].result, (self,))
        return lambda *arguments, **named: self._surface.call(path, member, (self, *arguments), named)

    def __setattr__(self, name: str, value: Any) -> None:
        path, member = self._member(name)
        if not isinstance(member, property) or member.fset is None:
            raise SurfaceError(f"{path}: cannot be set")
        if not Signature.all_of(_anonymous(member.fset))[0].fits(self._surface.judge, (self, value), {}):
            raise SurfaceError(f"{path}: does not take {value!r}")
        self._set[name] = value

    def __bytes__(self) -> bytes:
        path, _ = self._member("nbytes")  # only what is a buffer has it
        return bytes(self._surface.answers[path])


def _anonymous(function: Any) -> Any:
    """A property's function, whose docstring has a signature without a name."""
    return type("Named", (), {"__doc__": f"value{(function.__doc__ or '').strip()}"})


class Module(ModuleType):
    """The recording module. Enums and what our code derives from are the real ones."""

    def __init__(self, surface: Surface) -> None:
        super().__init__(surface.real.__name__)
        self._surface = surface

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != "__version__":
            raise AttributeError(name)
        surface = self.__dict__["_surface"]
        value = getattr(surface.real, name)
        surface.used.add(name)
        if not isinstance(value, type) or name in surface.subclassed:
            return value
        if hasattr(value, "__members__"):
            return _Enum(surface, value)

        def construct(*arguments: Any, **named: Any) -> Recorded:
            made = Recorded(surface, value)
            surface.call(f"{name}.__init__", value.__init__, (made, *arguments), named)
            return made

        return construct


class _Enum:
    def __init__(self, surface: Surface, real: Any) -> None:
        self._surface, self._real = surface, real

    def __getattr__(self, name: str) -> Any:
        if name not in self._real.__members__:
            raise AttributeError(f"{self._real.__name__}.{name} is not there")
        self._surface.used.add(f"{self._real.__name__}.{name}")
        return getattr(self._real, name)
