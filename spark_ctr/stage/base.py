"""Base class of all stages: keyword-only Params, generated accessors, one constructor."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params

_REQUIRED = object()
_PARAM_MAPS = ("_paramMap", "_defaultParamMap")


def param(name: str, doc: str, converter: Callable[[Any], Any], default: Any = _REQUIRED) -> Any:
    """Declare a Param with its default; without a default the Param starts unset."""
    declared = Param(Params._dummy(), name, doc, typeConverter=converter)
    declared.sparkCtrDefault = default  # type: ignore[attr-defined]
    return declared


def one_of(name: str, *choices: str) -> Callable[[Any], str]:
    """Return a converter that accepts the given words only."""

    def convert(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}: {value!r}")
        return str(value)

    return convert


def number(
    name: str,
    kind: type,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Callable[[Any], Any]:
    """Return a converter to ``int`` or ``float`` with bounds that an error names."""

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"{name} must be a number: {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite: {value!r}")
        converted = kind(value)
        if kind is int and converted != value:
            raise ValueError(f"{name} must be a whole number: {value!r}")
        bounds = (
            (at_least, operator.ge, "at least"),
            (above, operator.gt, "above"),
            (at_most, operator.le, "at most"),
            (below, operator.lt, "below"),
        )
        for bound, holds, words in bounds:
            if bound is not None and not holds(converted, bound):
                raise ValueError(f"{name} must be {words} {bound}: {value!r}")
        return converted

    return convert


class Stage(Params):
    """A Spark ML stage whose Params are declared once, as class attributes.

    Accessors ``getName`` and ``setName`` and the constructor's signature are made from the
    declarations, so that a Param cannot be documented in one place and missing in another.
    """

    if TYPE_CHECKING:
        # Accessors are generated, so a type checker has to take their names on trust.
        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = cls._declared()
        for name, declaration in declared.items():
            suffix = name[0].upper() + name[1:]
            for accessor, make in ((f"get{suffix}", _getter), (f"set{suffix}", _setter)):
                # A Param declared again, with another doc, needs accessors of its own.
                redeclared = name in vars(cls) and accessor not in vars(cls)
                if redeclared or not hasattr(cls, accessor):
                    setattr(cls, accessor, make(name, declaration.doc))
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=cls._defaults().get(name, None),
                )
                for name in declared
            ]
        )

    @classmethod
    def _declared(cls) -> dict[str, Param]:
        found: dict[str, Param] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(value, Param):
                    found[name] = value
        return found

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        return {
            name: declared.sparkCtrDefault  # type: ignore[attr-defined]
            for name, declared in cls._declared().items()
            if getattr(declared, "sparkCtrDefault", _REQUIRED) is not _REQUIRED
        }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self._setDefault(**self._defaults())
        self.setParams(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes with Params by name, since their converters cannot be pickled."""
        state = {k: v for k, v in vars(self).items() if not isinstance(v, Param)}
        for kind in _PARAM_MAPS:
            state[kind] = {declared.name: value for declared, value in state[kind].items()}
        return state | {"_params": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes back; the Params are this stage's own."""
        vars(self).update(state)
        self._copy_params()
        for kind in _PARAM_MAPS:
            named = {self.getParam(name): value for name, value in state[kind].items()}
            setattr(self, kind, named)

    def setParams(self, **kwargs: Any) -> Any:
        """Set several Params by name; ``None`` leaves a Param as it is."""
        unknown = sorted(set(kwargs) - set(self._declared()))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no Param {', '.join(unknown)}; "
                f"its Params are {', '.join(sorted(self._declared()))}"
            )
        return self._set(**{name: value for name, value in kwargs.items() if value is not None})

    def _value(self, name: str) -> Any:
        """Value of a Param, its default, or None when it is unset."""
        declared = self.getParam(name)
        return self.getOrDefault(declared) if self.isDefined(declared) else None


def _getter(name: str, doc: str) -> Callable[[Any], Any]:
    def get(self: Stage) -> Any:
        return self.getOrDefault(self.getParam(name))

    get.__name__ = f"get{name[0].upper()}{name[1:]}"
    get.__doc__ = f"Value of {name}: {doc}"
    return get


def _setter(name: str, doc: str) -> Callable[[Any, Any], Any]:
    def set_(self: Stage, value: Any) -> Any:
        return self._set(**{name: value})

    set_.__name__ = f"set{name[0].upper()}{name[1:]}"
    set_.__doc__ = f"Set {name}: {doc}"
    return set_
