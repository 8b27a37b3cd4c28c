package sparkctr

import java.nio.{ByteBuffer, ByteOrder}

import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.unsafe.Platform

/** Packs ids and numbers of a row into bytes; interpreted and generated code call it alike. */
object PackedRow {

  /** Stands for a missing id: tables have fewer rows, so that no id is as large. */
  final val MissingId = Int.MaxValue

  private val littleEndian = ByteOrder.nativeOrder == ByteOrder.LITTLE_ENDIAN

  /**
   * The first ids, then the first numbers, 4 bytes each, little-endian; one byte more where an
   * array is null or of another length.
   *
   * @param doubles whether the numbers are doubles, else floats
   */
  def pack(
      ids: ArrayData, numbers: ArrayData, width: Int, count: Int, doubles: Boolean): Array[Byte] = {
    val whole = isWhole(ids, width) && isWhole(numbers, count)
    val out = new Array[Byte](4 * (width + count) + (if (whole) 0 else 1))
    if (!copied(ids, width, out, 0)) putIds(ids, width, out)
    if (doubles || !copied(numbers, count, out, 4 * width)) {
      putNumbers(numbers, count, doubles, out, 4 * width)
    }
    out
  }

  private def isWhole(values: ArrayData, n: Int): Boolean =
    values != null && values.numElements() == n

  private def size(values: ArrayData): Int = if (values == null) 0 else values.numElements()

  /** Copy n values of 4 bytes at once, where they are all there and lie side by side. */
  private def copied(values: ArrayData, n: Int, out: Array[Byte], at: Int): Boolean = values match {
    case unsafe: UnsafeArrayData if littleEndian && unsafe.numElements() >= n && noNulls(unsafe) =>
      val header = UnsafeArrayData.calculateHeaderPortionInBytes(unsafe.numElements())
      Platform.copyMemory(unsafe.getBaseObject, unsafe.getBaseOffset + header,
        out, Platform.BYTE_ARRAY_OFFSET + at, 4L * n)
      true
    case _ => false
  }

  private def noNulls(values: UnsafeArrayData): Boolean = {
    // The header is the number of elements, 8 bytes, and a bit each that says whether it is null.
    val end = UnsafeArrayData.calculateHeaderPortionInBytes(values.numElements())
    var at = 8
    while (at < end && Platform.getLong(values.getBaseObject, values.getBaseOffset + at) == 0L) {
      at += 8
    }
    at >= end
  }

  private def putIds(ids: ArrayData, width: Int, out: Array[Byte]): Unit = {
    val to = ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN)
    val there = size(ids)
    var i = 0
    while (i < width) {
      to.putInt(if (i < there && !ids.isNullAt(i)) ids.getInt(i) else MissingId)
      i += 1
    }
  }

  private def putNumbers(
      numbers: ArrayData, count: Int, doubles: Boolean, out: Array[Byte], at: Int): Unit = {
    val to = ByteBuffer.wrap(out, at, 4 * count).order(ByteOrder.LITTLE_ENDIAN)
    val there = size(numbers)
    var i = 0
    while (i < count) {
      to.putFloat(
        if (i >= there || numbers.isNullAt(i)) Float.NaN
        else if (doubles) numbers.getDouble(i).toFloat
        else numbers.getFloat(i))
      i += 1
    }
  }
}
