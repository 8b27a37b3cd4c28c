package sparkctr

import java.io.File

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}
import org.apache.spark.sql.DataFrame
import org.apache.spark.sql.types._

/** `ctr_rows` against the golden rows that Python and SQL are held to as well. */
class CtrRowsSuite extends SparkSuite {

  private val file = new ObjectMapper().readTree(new File("tests/hashing/golden.json"))
  private val texts = elements(file.get("texts")).map(t => if (t.isNull) null else t.asText)
  private val hashes = elements(file.get("hashes"))
  private val bags = elements(file.get("arrays")).map { bag =>
    if (bag.isNull) null else elements(bag).map(i => texts(i.asInt))
  }

  private def elements(node: JsonNode): Seq[JsonNode] = (0 until node.size).map(node.get(_))

  private def ints(node: JsonNode): Seq[Seq[Int]] = elements(node).map(elements(_).map(_.asInt))

  private def hex(plan: JsonNode, values: Int): String = {
    val head = elements(plan.get("head")).map(i => hashes(i.asInt).asLong)
    val scheme = Seq("modulo", "double", "quotient_remainder").indexOf(plan.get("scheme").asText)
    val offset = plan.get("offset").asInt
    val out = java.nio.ByteBuffer.allocate(8 + 28 + 8 + head.length * 8)
      .order(java.nio.ByteOrder.LITTLE_ENDIAN)
    val signed = if (plan.get("signed").asBoolean) 1 else 0
    out.put("CTR1".getBytes("US-ASCII")).putInt(1)
    Seq(scheme, signed, values, plan.get("buckets").asInt, offset, offset + 1 + head.length,
      head.length).foreach(out.putInt(_))
    out.putLong(plan.get("seed").asLong)
    head.foreach(out.putLong(_))
    "X'" + out.array.map("%02x".format(_)).mkString + "'"
  }

  private def rows(data: DataFrame, plan: String): Seq[Seq[Int]] =
    data.selectExpr(s"ctr_rows($plan, v)").collect().toSeq.map(_.getSeq[Int](0).toSeq)

  private def golden(scalars: DataFrame, arrays: DataFrame): Unit =
    for (plan <- elements(file.get("plans"))) {
      rows(scalars, hex(plan, 0)) shouldBe ints(plan.get("rows"))
      rows(arrays, hex(plan, plan.get("values").asInt)) shouldBe ints(plan.get("bags"))
    }

  test("golden rows, by generated and by interpreted code") {
    val scalars = column(texts, StringType)
    val arrays = column(bags, ArrayType(StringType))
    generated(golden(scalars, arrays))
    interpreted(golden(scalars, arrays))
  }

  test("the plan is not printed") {
    val plan = hex(elements(file.get("plans")).head, 0)
    val text = column(texts, StringType).selectExpr(s"ctr_rows($plan, v) AS r")
      .queryExecution.executedPlan.toString
    text should include("ctr_rows(plan, v")
    text should not include "43545231"
  }

  test("many private values are all found") {
    val head = (0 until 100000).map(_ * 0x9E3779B97F4A7C15L)
    val out = java.nio.ByteBuffer.allocate(44 + head.length * 8)
      .order(java.nio.ByteOrder.LITTLE_ENDIAN)
    out.put("CTR1".getBytes("US-ASCII")).putInt(1)
    Seq(0, 0, 0, 7, 0, 1 + head.length, head.length).foreach(out.putInt(_))
    out.putLong(3L)
    head.foreach(out.putLong(_))
    val plan = RowPlan.of(out.array)
    val target = new Array[Int](1)
    for ((hash, i) <- head.zipWithIndex) {
      plan.columns.head.put(hash, target, 0)
      target(0) shouldBe i + 1
    }
    plan.columns.head.put(12345L, target, 0)
    target(0) should be > head.length
  }

  test("a serialised plan comes back as the one that is known") {
    val plan = RowPlan.of(Array[Byte]('C', 'T', 'R', '1', 0, 0, 0, 0))
    val bytes = new java.io.ByteArrayOutputStream
    new java.io.ObjectOutputStream(bytes).writeObject(plan)
    val back = new java.io.ObjectInputStream(
      new java.io.ByteArrayInputStream(bytes.toByteArray)).readObject()
    back should be theSameInstanceAs plan
  }
}
