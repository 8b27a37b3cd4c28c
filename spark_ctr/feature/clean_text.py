"""Clean texts: white space folded and trimmed, placeholders null."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.jvm import use_jvm_functions
from spark_ctr.stage.columns import compiled_apart

_SPACE = r"[\s\p{Z}\p{Cc}]+"


def clean_texts(
    dataset: DataFrame, texts: Column, array: bool, missing: Sequence[str], lowercase: bool
) -> Column:
    """Return clean texts, or arrays of the clean texts of those elements that have one.

    spark_ctr's JVM function ``ctr_clean`` where the session has it, else Spark's built-in
    functions, with the same results.

    Parameters
    ----------
    dataset : DataFrame
    texts : Column
        string or array<string>.
    array : bool
        Whether it is array<string>.
    missing : sequence of str
        Placeholders, which become null; white space and case are not told apart more than in texts.
    lowercase : bool
        Fold the case, too.
    """
    # By Spark, as the data is: Python's lower case is not Java's.
    words = [_folded(F.lit(word), lowercase) for word in missing]
    if use_jvm_functions(dataset.sparkSession):
        return _by_jvm(texts, array, words, lowercase)
    if array:
        found = F.filter(
            F.transform(texts, lambda text: _folded(text, lowercase)),
            lambda text: ~text.isin(words),
        )
        return F.when(F.size(found) > 0, found)
    text = _folded(texts, lowercase)
    nothing = compiled_apart(F.lit(None).cast(T.StringType()))
    return F.when(~text.isin(words), text).otherwise(nothing)


def _by_jvm(texts: Column, array: bool, words: list[Column], lowercase: bool) -> Column:
    def cleaned(texts: Column, words: list[Column]) -> Column:
        missing = F.array(*words).cast("array<string>")
        return F.call_function("ctr_clean", texts, F.lit(_SPACE), missing)

    if lowercase:  # by Spark, whose rules of case differ between versions
        texts = cleaned(texts, [])
        texts = F.transform(texts, F.lower) if array else F.lower(texts)
    return cleaned(texts, words)


def _folded(text: Column, lowercase: bool) -> Column:
    """Trimmed text with inner white space folded and case folded if asked for."""
    text = F.trim(F.regexp_replace(text, _SPACE, " "))
    return F.lower(text) if lowercase else text
