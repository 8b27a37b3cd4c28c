"""Params, constructor and copies of every stage; needs no data."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pyspark.ml.param import Param
from stages import CASES, CLASSES, VALUES, Case, nested_params

from spark_ctr.settings import Setting, number

pytestmark = pytest.mark.usefixtures("spark")
EACH_CLASS = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def _suffix(name: str) -> str:
    return name[0].upper() + name[1:]


def _value(stage: Any, name: str) -> Any:
    if stage.isDefined(name):
        return stage.getOrDefault(name)
    return VALUES.get(f"{type(stage).__name__}.{name}") or VALUES[name]


def _is_number(declared: Param) -> bool:
    setting = getattr(getattr(declared.typeConverter, "func", None), "__self__", None)
    made = setting.convert.__qualname__ if isinstance(setting, Setting) else ""
    return made.startswith(number.__name__)


@EACH_CLASS
def test_constructor_needs_no_argument(cls: type) -> None:
    stage = cls()
    assert stage.uid.startswith(cls.__name__)
    assert not stage._paramMap


@EACH_CLASS
def test_declares_what_spark_sees(cls: type) -> None:
    assert {p.name for p in cls().params} == set(cls._declared())


@EACH_CLASS
def test_signature_is_keyword_only(cls: type) -> None:
    parameters = inspect.signature(cls).parameters.values()
    assert {p.name for p in parameters} == set(cls._declared())
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        cls("x")


@EACH_CLASS
def test_unknown_keyword_lists_params(cls: type) -> None:
    with pytest.raises(TypeError, match="noSuchParam") as error:
        cls(noSuchParam=1)
    assert all(name in str(error.value) for name in cls._declared())


@EACH_CLASS
def test_params_are_documented(cls: type) -> None:
    stage = cls()
    for name in cls._declared():
        declared = getattr(stage, name)
        assert isinstance(declared, Param), name
        assert len(declared.doc.split()) >= 2, name
        assert declared.doc in getattr(cls, f"get{_suffix(name)}").__doc__, name
        assert declared.doc in getattr(cls, f"set{_suffix(name)}").__doc__, name


@EACH_CLASS
def test_getter_setter_and_keyword_agree(cls: type) -> None:
    for name in cls._declared():
        stage = cls()
        value = _value(stage, name)
        assert getattr(stage, f"set{_suffix(name)}")(value) is stage, name
        assert getattr(stage, f"get{_suffix(name)}")() == value, name
        assert stage.isSet(name), name
        assert cls(**{name: value}).getOrDefault(name) == value, name
        assert cls().setParams(**{name: value}).getOrDefault(name) == value, name


@EACH_CLASS
def test_converters_refuse_a_wrong_type(cls: type) -> None:
    for name in cls._declared():
        for wrong in (object(), {"a": object()}, [object()]):
            with pytest.raises((TypeError, ValueError), match=name):
                cls(**{name: wrong})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@EACH_CLASS
def test_numbers_must_be_finite(cls: type, wrong: float) -> None:
    numbers = [name for name, declared in cls._declared().items() if _is_number(declared)]
    assert numbers
    for name in numbers:
        with pytest.raises(ValueError, match=name):
            cls(**{name: wrong})


@EACH_CLASS
def test_none_leaves_a_param_alone(cls: type) -> None:
    assert not cls(**dict.fromkeys(cls._declared()))._paramMap


def _all_values(stage: Any) -> dict[str, Any]:
    return {p.name: stage.getOrDefault(p) for p in stage.params if stage.isDefined(p)}


def test_copy_is_independent_and_keeps_uid(case: Case) -> None:
    stage = case.make(str)
    before = _all_values(stage)
    copied = stage.copy()
    assert type(copied) is type(stage)
    assert copied.uid == stage.uid
    for name in [p.name for p in copied.params if copied.isSet(p)]:
        copied.clear(copied.getParam(name))
    assert _all_values(stage) == before


def test_copy_of_nested_stages_is_independent(case: Case) -> None:
    stage = case.make(str)
    for name in nested_params(stage):
        copied = stage.copy()
        inner = stage.getOrDefault(name)
        copied.getOrDefault(name).setMaxIter(7)
        assert copied.getOrDefault(name).uid == inner.uid
        assert inner.getMaxIter() == 1


def test_copy_takes_extra_params(case: Case) -> None:
    stage = case.make(str)
    for point in case.grid(stage):
        copied = stage.copy(point)
        inner = [copied, *(copied.getOrDefault(n) for n in nested_params(copied))]
        for declared, value in point.items():
            owner = next(s for s in inner if s.uid == declared.parent)
            assert owner.getOrDefault(declared.name) == value


def test_fitted_model_copy_is_independent(case: Case, fitted: Any) -> None:
    model = fitted(case)
    copied = model.copy({model.handleInvalid: "skip"})
    assert copied.uid == model.uid
    assert copied.getHandleInvalid() == "skip"
    assert model.getHandleInvalid() != "skip"
    assert case.fingerprint(copied) == case.fingerprint(model)


def test_model_keeps_uid_and_params_of_its_stage(clicks: Any, fitted: Any) -> None:
    for case in CASES:
        stage, model = case.make(str), fitted(case)
        assert model.uid.startswith(case.name)
        for declared in stage.params:
            if model.hasParam(declared.name) and stage.isSet(declared):
                shared = declared.name not in ("maxIter", "learningRate", "logitWeight")
                assert not shared or model.getOrDefault(declared.name) == stage.getOrDefault(
                    declared
                )
