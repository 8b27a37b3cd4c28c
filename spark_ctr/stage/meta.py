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
                copied._set(**{name: copied.getOrDefault(name).copy(extra)})
        return copied


def _list_nested_stages() -> None:
    """Let CrossValidator save and load grids over Params of stages inside a MetaStage.

    Spark lists the stages inside its own meta-estimators by class and has no hook for others.
    """
    spark_lists = MetaAlgorithmReadWrite.getAllNestedStages

    def stages_in(instance: Any) -> list[Any]:
        stages = spark_lists(instance)
        if isinstance(instance, MetaStage):
            for name in instance._nested_params:
                nested = instance.getOrDefault(name) if instance.isSet(name) else None
                # A model may come from an earlier fit of this very stage, and have its uid.
                if nested is not None and nested.uid != instance.uid:
                    stages += stages_in(nested)
        return stages

    MetaAlgorithmReadWrite.getAllNestedStages = staticmethod(stages_in)  # type: ignore[assignment,method-assign]


_list_nested_stages()
