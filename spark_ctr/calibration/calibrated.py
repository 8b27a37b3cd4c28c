"""A calibration as an expression of Spark: arithmetic and array look-ups, all of it compiled.

Arrays come as one text that Spark splits and casts while it plans, not as a literal an element:
plans of 10,000 slots stay as small as those of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_ctr.calibration_curves import BetaCurve, Calibration, Curve
from spark_ctr.calibration_curves.bins import LOW
from spark_ctr.calibration_curves.placement import KEY_SHIFT, PRODUCT_SHIFT, Placement


def calibrated(
    calibration: Calibration, placement: Placement, z: Column, key: Column | None
) -> Column:
    """Return the calibrated probability of a score.

    Parameters
    ----------
    calibration : Calibration
    placement : Placement
        Of the calibration's keys.
    z : Column
        Log-odds of the score; better a column than an expression, as it is named several times.
    key : Column or None
        64-bit key of the row's slot; one that was not fitted takes the global curve.
    """
    u = _curve(calibration.curve, z)
    if key is not None and len(calibration.keys):
        place = _place(placement, key)
        offset = placement.table(calibration.keys, calibration.offset)
        steeper = placement.table(calibration.keys, calibration.slope - 1.0)
        # A number and not a branch, or Spark would work the place out again in the branch.
        seen = (F.get(_array(placement.keys, "bigint"), place) == key).cast("double")
        own, more = (F.get(_array(values, "double"), place) for values in (offset, steeper))
        u = u * (1.0 + seen * more) + seen * own
    return 1.0 / (1.0 + F.exp(-u))


def _curve(curve: Curve, z: Column) -> Column:
    if isinstance(curve, BetaCurve):
        if curve.a == curve.b:
            return F.lit(curve.a) * z + F.lit(curve.c)
        e = F.exp(-F.abs(z))  # of no size that overflows
        softplus = F.log1p(e)
        minus_log_p = softplus + F.greatest(-z, F.lit(0.0))
        minus_log_q = softplus + F.greatest(z, F.lit(0.0))
        return F.lit(-curve.a) * minus_log_p + F.lit(curve.b) * minus_log_q + F.lit(curve.c)
    offset, slope = curve.pieces
    piece = F.floor((z - F.lit(LOW)) / F.lit(curve.step)).cast("int")
    piece = F.greatest(F.least(piece, F.lit(len(slope) - 1)), F.lit(0))
    return F.get(_array(offset, "double"), piece) + F.get(_array(slope, "double"), piece) * z


def _place(placement: Placement, key: Column) -> Column:
    """Place where a key's values are, if they are anywhere."""
    bucket = key.bitwiseAND(F.lit(len(placement.multipliers) - 1)).cast("int")
    multiplier = F.get(_array(placement.multipliers, "bigint"), bucket)
    product = F.shiftrightunsigned(key, KEY_SHIFT) * multiplier
    place = F.shiftright(product, PRODUCT_SHIFT).bitwiseAND(F.lit(len(placement.keys) - 1))
    return place.cast("int")


def _array(values: Sequence[float] | np.ndarray, kind: str) -> Column:
    text = ",".join(map(repr, np.asarray(values).tolist()))
    return F.split(F.lit(text), ",").cast(f"array<{kind}>")
