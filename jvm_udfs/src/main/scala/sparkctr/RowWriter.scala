package sparkctr

import org.apache.spark.sql.catalyst.expressions.{UnsafeArrayData, XXH64}
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.unsafe.types.UTF8String

/** Writes the embedding rows of a row's values; interpreted and generated code call it alike. */
final class RowWriter private[sparkctr] (plan: RowPlan) {
  private val columns = plan.columns
  private val starts = columns.map(_.width).scanLeft(0)(_ + _)
  private val out = new Array[Int](plan.width)

  def put(column: Int, text: UTF8String): Unit =
    if (text == null) columns(column).putMissing(out, starts(column))
    else columns(column).put(hash(text), out, starts(column))

  /** The first elements of an array, as many as the plan reads; an empty one counts as missing. */
  def putAll(column: Int, texts: ArrayData): Unit = {
    val plan = columns(column)
    val start = starts(column)
    val used = if (texts == null) 0 else math.min(texts.numElements(), plan.values)
    var i = 0
    while (i < used) {
      val at = start + i * plan.slots
      if (texts.isNullAt(i)) plan.putMissing(out, at)
      else plan.put(hash(texts.getUTF8String(i)), out, at)
      i += 1
    }
    if (used == 0) plan.putMissing(out, start)
    plan.pad(math.max(used, 1), out, start)
  }

  /** The rows of all columns, in an array of its own. */
  def rows(): ArrayData = UnsafeArrayData.fromPrimitiveArray(out)

  private def hash(text: UTF8String): Long = XXH64.hashUnsafeBytes(
    text.getBaseObject, text.getBaseOffset, text.numBytes, RowWriter.SparkSeed)
}

object RowWriter {
  private final val SparkSeed = 42L

  def of(plan: Object): RowWriter = new RowWriter(plan.asInstanceOf[RowPlan])
}
