"""Meta-estimators: Params that hold stages, copied and checked like OneVsRest's classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.ml.param import Params
from pyspark.ml.util import MetaAlgorithmReadWrite


def stage_of(name: str, *kinds: type | str) -> Callable[[Any], Any]:
    """Return a converter that accepts stages of the given classes only.

    A class that is not defined yet is given by its name.
    """

    def convert(value: Any) -> Any:
        names = [kind if isinstance(kind, str) else kind.__name__ for kind in kinds]
        if not any(base in kinds or base.__name__ in kinds for base in type(value).__mro__):
            wanted = " or ".join(names)
            raise TypeError(f"{name} must be a {wanted}, not a {type(value).__name__}")
        return value

    return convert


def stages_of(name: str, *kinds: type | str) -> Callable[[Any], Any]:
    """Return a converter that accepts a stage of the given classes, or a list of such stages."""
    one = stage_of(name, *kinds)

    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return one(value)
        if not value:
            raise ValueError(f"{name} is an empty list: name one stage at least")
        return [one(stage) for stage in value]

    return convert


def nested_stages(stage: Params) -> dict[str, Any]:
    """Return the stages in the Params of a stage, those of a list as "name-0", "name-1", ..."""
    found: dict[str, Any] = {}
    for name in getattr(stage, "_nested_params", ()):
        value = stage.getOrDefault(name) if stage.isSet(name) else None
        if isinstance(value, list):
            found |= {f"{name}-{i}": one for i, one in enumerate(value)}
        elif value is not None:
            found[name] = value
    return found


class MetaStage(Params):
    """Mixin of stages whose ``_nested_params`` hold other stages."""

    _nested_params: tuple[str, ...]

    def _nested(self, name: str) -> Any:
        """Return the stage in a Param, or say that it must be set."""
        if not self.isDefined(name):
            raise ValueError(
                f"{type(self).__name__} needs {name}: pass {name}=… or call "
                f"set{name[0].upper()}{name[1:]}"
            )
        return self.getOrDefault(name)

    def copy(self, extra: Any = None) -> Any:
        """Copy with nested stages copied too; ``extra`` may hold their Params."""
        copied = super().copy(extra)
        for name in self._nested_params:
            if copied.isSet(name):
                value = copied.getOrDefault(name)
                several = isinstance(value, list)
                inner = [one.copy(extra) for one in value] if several else value.copy(extra)
                copied._set(**{name: inner})
        return copied


def _list_nested_stages() -> None:
    """Let CrossValidator save and load grids over Params of stages inside a MetaStage.

    Spark lists the stages inside its own meta-estimators by class and has no hook for others.
    """
    spark_lists = MetaAlgorithmReadWrite.getAllNestedStages

    def stages_in(instance: Any) -> list[Any]:
        stages = spark_lists(instance)
        if isinstance(instance, MetaStage):
            for nested in nested_stages(instance).values():
                # A model may come from an earlier fit of this very stage, and have its uid.
                if nested.uid != instance.uid:
                    stages += stages_in(nested)
        return stages

    MetaAlgorithmReadWrite.getAllNestedStages = staticmethod(stages_in)  # type: ignore[assignment,method-assign]


_list_nested_stages()
