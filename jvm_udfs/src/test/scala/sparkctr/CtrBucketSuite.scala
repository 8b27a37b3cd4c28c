package sparkctr

import java.nio.charset.StandardCharsets.UTF_8

import org.apache.spark.sql.{AnalysisException, DataFrame}
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{BoundReference, Literal}
import org.apache.spark.sql.catalyst.expressions.codegen.GenerateMutableProjection
import org.apache.spark.sql.execution.WholeStageCodegenExec
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

class CtrBucketSuite extends SparkSuite {

  private val strings: Seq[String] = Seq(
    null, "", "a", "click", " click", "näher", "日本語", "🙂🙃", "\u0000", "e\u0301", "x" * 31,
    "x" * 32, "long " * 50000) ++ (0 until 200).map(i => s"user-$i")

  private val seeds = Seq("0", "7", "-1", "9223372036854775807", "-9223372036854775807")
  private val bucketCounts = Seq("1", "2", "1000", "2147483647")

  private def twin(seed: String, n: String): String =
    s"CASE WHEN v IS NULL THEN 0 ELSE " +
      s"CAST(1 + pmod(xxhash64(v, CAST($seed AS BIGINT)), CAST($n AS BIGINT)) AS INT) END"

  private def pairs(data: DataFrame, seed: String, n: String): Seq[(Int, Int)] =
    data.selectExpr(s"ctr_bucket(v, $seed, $n)", twin(seed, n)).collect().toSeq
      .map(r => (r.getInt(0), r.getInt(1)))

  private def messageOf(sql: String): String =
    intercept[AnalysisException](spark.sql(sql)).getMessage

  private val typedValues: Seq[(DataType, Seq[Any])] = Seq(
    StringType -> strings,
    BinaryType -> strings.map(s => if (s == null) null else s.getBytes(UTF_8)),
    ByteType -> Seq(null, 0.toByte, Byte.MinValue, Byte.MaxValue),
    ShortType -> Seq(null, 0.toShort, Short.MinValue, Short.MaxValue),
    IntegerType -> Seq(null, 0, -1, Int.MinValue, Int.MaxValue),
    LongType -> Seq(null, 0L, -1L, Long.MinValue, Long.MaxValue))

  for ((dataType, values) <- typedValues) test(s"equals the built-in twin on ${dataType.sql}") {
    val data = column(values, dataType)
    for (seed <- seeds; n <- bucketCounts) {
      val fast = generated(pairs(data, seed, n))
      val slow = interpreted(pairs(data, seed, n))
      fast.map(_._1) shouldBe fast.map(_._2)
      slow shouldBe fast
      fast.head._1 shouldBe 0
      all(fast.tail.map(_._1)) should (be >= 1 and be <= n.toInt)
    }
  }

  test("takes part in whole-stage code generation") {
    val query = column(strings, StringType).selectExpr("ctr_bucket(v, 7, 1000) AS b")
    val stages = generated(query.queryExecution.executedPlan).collect {
      case stage: WholeStageCodegenExec => stage.doCodeGen()._2.body
    }
    stages.mkString should include("sparkctr.BucketHash.ofString(")
  }

  test("generated and interpreted evaluation of one expression agree") {
    val column = BoundReference(0, StringType, nullable = true)
    val expression = CtrBucket(column, Literal(7L), Literal(1000))
    val projection = GenerateMutableProjection.generate(Seq(expression))
    for (s <- strings) {
      val row = InternalRow(UTF8String.fromString(s))
      projection(row).getInt(0) shouldBe expression.eval(row)
    }
  }

  test("a literal NULL is bucket 0 and constants fold") {
    val query = spark.sql(
      "SELECT ctr_bucket(NULL, 7, 10) AS a, ctr_bucket('click', 3 + 4, 1000) AS b")
    query.head().toSeq shouldBe spark.sql(
      "SELECT 0, CAST(1 + pmod(xxhash64('click', 7L), 1000L) AS INT)").head().toSeq
    query.queryExecution.optimizedPlan.toString should not include "ctr_bucket"
  }

  test("generated code of a literal NULL compiles") {
    val expression = CtrBucket(Literal(null, NullType), Literal(7L), Literal(10))
    GenerateMutableProjection.generate(Seq(expression))(InternalRow()).getInt(0) shouldBe 0
  }

  test("the column is never null") {
    val query = column(strings, StringType).selectExpr("ctr_bucket(v, 7, 10)")
    query.schema.head.nullable shouldBe false
    query.schema.head.dataType shouldBe IntegerType
  }

  test("a wrong type names the argument") {
    messageOf("SELECT ctr_bucket(1.5D, 7, 10)") should (
      include("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE") and
        include("`value`") and include("DOUBLE"))
    messageOf("SELECT ctr_bucket('a', '7', 10)") should (
      include("`seed`") and include("BIGINT") and include("STRING"))
    messageOf("SELECT ctr_bucket('a', 7, 10.5)") should (
      include("`numBuckets`") and include("DECIMAL"))
    messageOf("SELECT ctr_bucket(array('a'), 7, 10)") should (
      include("`value`") and include("ARRAY"))
  }

  test("a constant that is not one, null or out of range names the argument") {
    messageOf("SELECT ctr_bucket('a', id, 10) FROM range(2)") should (
      include("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT") and include("`seed`"))
    messageOf("SELECT ctr_bucket('a', 7, id) FROM range(2)") should (
      include("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT") and include("`numBuckets`"))
    messageOf("SELECT ctr_bucket('a', CAST(NULL AS BIGINT), 10)") should (
      include("DATATYPE_MISMATCH.UNEXPECTED_NULL") and include("`seed`"))
    for (n <- Seq("0", "-3", "2147483648"))
      messageOf(s"SELECT ctr_bucket('a', 7, $n)") should (
        include("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE") and include("`numBuckets`") and include(n))
  }

  test("a wrong number of arguments says which are expected") {
    messageOf("SELECT ctr_bucket('a', 7)") should (
      include("WRONG_NUM_ARGS") and include("3 (value, seed, numBuckets)") and include("is 2"))
    messageOf("SELECT ctr_bucket()") should include("is 0")
  }

  test("DESCRIBE FUNCTION shows usage, arguments, examples and the class") {
    val text = spark.sql("DESCRIBE FUNCTION EXTENDED ctr_bucket").collect()
      .map(_.getString(0)).mkString("\n")
    for (part <- Seq(
        "Class: sparkctr.CtrBucket", "ctr_bucket(value, seed, numBuckets) - ", "Arguments:",
        "numBuckets - ", "Examples:", "SELECT ctr_bucket('click', 7, 1000)"))
      text should include(part)
  }
}
