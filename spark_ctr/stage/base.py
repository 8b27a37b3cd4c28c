"""Base class of all stages: keyword-only Params, generated accessors, one constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Param, Params

from spark_ctr.settings import Setting, choice
from spark_ctr.settings import number as number_setting

_REQUIRED = object()
_PARAM_MAPS = ("_paramMap", "_defaultParamMap")


def param(name: str, doc: str, converter: Callable[[Any], Any], default: Any = _REQUIRED) -> Any:
    """Declare a Param with its default; without a default the Param starts unset."""
    declared = Param(Params._dummy(), name, doc, typeConverter=converter)
    declared.sparkCtrDefault = default  # type: ignore[attr-defined]
    return declared


def setting_param(name: str, setting: Setting) -> Any:
    """Declare a Param by a setting: its doc, its check and its default, unset where that is None.

    `Stage.setting_values` reads the Params of some settings back.
    """
    default = _REQUIRED if setting.default is None else setting.default
    declared = param(name, setting.doc, _converter(name, setting), default)
    declared.sparkCtrSetting = setting
    return declared


def one_of(name: str, *choices: str) -> Callable[[Any], str]:
    """Return a converter that accepts the given words only."""
    return _converter(name, choice(*choices))


def number(name: str, kind: type, **bounds: Any) -> Callable[[Any], Any]:
    """Return a converter to ``int`` or ``float``; see `spark_ctr.settings.number` for bounds."""
    return _converter(name, number_setting(None, kind=kind, **bounds))


def _converter(name: str, setting: Setting) -> Callable[[Any], Any]:
    return partial(setting.value, name)


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

    def _set(self, **kwargs: Any) -> Any:
        """Set Params by name; ``None``, from a setter or a grid, makes a Param unset."""
        for name in [name for name, value in kwargs.items() if value is None]:
            self.clear(self.getParam(name))
        return super()._set(**{name: value for name, value in kwargs.items() if value is not None})

    def setting_values(self, settings: Mapping[str, Setting]) -> dict[str, Any]:
        """Values of the Params that these settings declare, by setting; unset ones are left out."""
        values = {
            id(getattr(declared, "sparkCtrSetting", None)): self._value(name)
            for name, declared in self._declared().items()
        }
        found = {key: values.get(id(setting)) for key, setting in settings.items()}
        return {key: value for key, value in found.items() if value is not None}

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
