package sparkctr

import java.nio.{ByteBuffer, ByteOrder}

import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData
import org.apache.spark.sql.catalyst.util.{ArrayData, GenericArrayData}
import org.apache.spark.sql.types._

/** `ctr_pack`: the bytes of rows of every kind, whatever holds the arrays. */
class CtrPackSuite extends SparkSuite {

  private val Missing = PackedRow.MissingId
  private val Nan = Float.NaN

  private def bytes(ids: Seq[Int], numbers: Seq[Float], odd: Boolean = false): Seq[Byte] = {
    val out = ByteBuffer.allocate(4 * (ids.length + numbers.length) + (if (odd) 1 else 0))
      .order(ByteOrder.LITTLE_ENDIAN)
    ids.foreach(out.putInt(_))
    numbers.foreach(out.putFloat(_))
    out.array.toSeq
  }

  private def unsafe(ids: Int*): ArrayData = UnsafeArrayData.fromPrimitiveArray(ids.toArray)
  private def generic(values: Any*): ArrayData = new GenericArrayData(values.toArray)
  private def floats(values: Float*): ArrayData = UnsafeArrayData.fromPrimitiveArray(values.toArray)

  private def pack(ids: ArrayData, numbers: ArrayData): Seq[Byte] =
    PackedRow.pack(ids, numbers, 2, 1, doubles = false).toSeq

  test("arrays that lie in memory and arrays of objects give the same bytes") {
    for (ids <- Seq(unsafe(1, -2), generic(1, -2)); ns <- Seq(floats(0.5f), generic(0.5f))) {
      pack(ids, ns) shouldBe bytes(Seq(1, -2), Seq(0.5f))
    }
    val doubles = UnsafeArrayData.fromPrimitiveArray(Array(0.1))
    for (ns <- Seq(doubles, generic(0.1))) {
      PackedRow.pack(unsafe(1, -2), ns, 2, 1, doubles = true).toSeq shouldBe
        bytes(Seq(1, -2), Seq(0.1.toFloat))
    }
  }

  test("what is missing is no id and no number") {
    pack(null, null) shouldBe bytes(Seq(Missing, Missing), Seq(Nan), odd = true)
    pack(unsafe(7), floats()) shouldBe bytes(Seq(7, Missing), Seq(Nan), odd = true)
    pack(generic(null, 7), generic(null)) shouldBe bytes(Seq(Missing, 7), Seq(Nan))
  }

  test("an array that is null or of another length adds a byte") {
    PackedRow.pack(null, floats(), 0, 0, doubles = false).toSeq shouldBe Seq(0)
    PackedRow.pack(unsafe(), null, 0, 0, doubles = false).toSeq shouldBe Seq(0)
    PackedRow.pack(unsafe(), floats(), 0, 0, doubles = false).toSeq shouldBe Nil
    pack(unsafe(1, 2, 3), floats(0.5f)) shouldBe bytes(Seq(1, 2), Seq(0.5f), odd = true)
    pack(unsafe(1, 2), floats(0.5f, 1f)) shouldBe bytes(Seq(1, 2), Seq(0.5f), odd = true)
    pack(unsafe(1), floats(0.5f, 1f)) shouldBe bytes(Seq(1, Missing), Seq(0.5f), odd = true)
  }

  test("a double beyond the floats is infinite") {
    val far = UnsafeArrayData.fromPrimitiveArray(Array(1e300, -1e300, Double.NaN))
    PackedRow.pack(unsafe(), far, 0, 3, doubles = true).toSeq shouldBe
      bytes(Nil, Seq(Float.PositiveInfinity, Float.NegativeInfinity, Nan))
  }

  test("nulls of rows in Spark's own format, by generated and by interpreted code") {
    // More than 64 elements, so that null bits fill more than a word.
    val rows: Seq[Seq[Integer]] = Seq(
      (0 until 70).map(Int.box), (0 until 70).map(i => if (i == 69) null else Int.box(i)), null)
    def found(): Seq[Seq[Byte]] = column(rows, ArrayType(IntegerType))
      .selectExpr("ctr_pack(v, CAST(NULL AS ARRAY<FLOAT>), 70, 0)")
      .collect().toSeq.map(_.getAs[Array[Byte]](0).toSeq)
    val wanted = rows.map { row =>
      bytes((0 until 70).map(i => if (row == null || row(i) == null) Missing else i), Nil,
        odd = true)
    }
    generated(found() shouldBe wanted)
    interpreted(found() shouldBe wanted)
  }
}
