package sparkctr

import org.apache.spark.ml.linalg.{DenseVector, Vectors}
import org.apache.spark.sql.Row
import org.apache.spark.sql.types._

/** `ctr_vector` makes what a dense vector of Spark ML is stored as. */
class CtrVectorSuite extends SparkSuite {

  private val values: Seq[java.lang.Double] =
    Seq(0.25, -0.0, Double.NaN, Double.PositiveInfinity, Double.MinPositiveValue, null)

  private def found(): Seq[Row] =
    column(values, DoubleType).selectExpr("ctr_vector(v, 1D)").collect().toSeq

  private def bits(x: Double): Long = java.lang.Double.doubleToRawLongBits(x)

  private def check(): Unit = for ((row, value) <- found().zip(values)) {
    if (value == null) row.isNullAt(0) shouldBe true
    else {
      val vector = row.getAs[DenseVector](0)
      vector.values.map(bits).toSeq shouldBe Seq(bits(value), bits(1.0))
    }
  }

  test("the same bits, by generated and by interpreted code") {
    generated(check())
    interpreted(check())
  }

  test("it has the type of Spark ML's vectors and compares with them") {
    val one = column(Seq(0.25), DoubleType).selectExpr("ctr_vector(v, 1D) AS v")
    one.schema.head.dataType shouldBe org.apache.spark.ml.linalg.SQLDataTypes.VectorType
    one.collect().head.get(0) shouldBe Vectors.dense(0.25, 1.0)
  }
}
