package sparkctr

import java.util.BitSet

import org.apache.spark.sql.catalyst.{FunctionIdentifier, InternalRow}
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenFallback
import org.apache.spark.sql.catalyst.trees.BinaryLike
import org.apache.spark.sql.types._

/**
 * `ctr_merge_counts(part, block)`: the counts of every value, from the blocks of
 * `ctr_value_counts`.
 *
 * All blocks of a part must come in one task, one after the other (repartition by part, then sort
 * within partitions by part); the values of one part at a time are in memory.
 */
case class CtrMergeCounts(part: Expression, block: Expression)
    extends Generator with CodegenFallback with BinaryLike[Expression] {
  import CtrMergeCounts._

  override def left: Expression = part
  override def right: Expression = block

  override def prettyName: String = Name

  override def elementSchema: StructType = new StructType()
    .add("column", IntegerType, nullable = false)
    .add("hash", LongType)
    .add("rows", LongType, nullable = false)
    .add("labelled", LongType, nullable = false)
    .add("positives", LongType, nullable = false)
    .add("slice", IntegerType, nullable = false)

  override def checkInputDataTypes(): TypeCheckResult =
    Arguments.oneOf("part", part, Seq(IntegerType))
      .orElse(Arguments.oneOf("block", block, Seq(BinaryType)))
      .getOrElse(TypeCheckSuccess)

  @transient private lazy val counts = new ColumnCounts
  @transient private lazy val finished = new BitSet(ColumnCounts.Parts)
  @transient private var current = None: Option[Int]

  override def eval(input: InternalRow): Iterator[InternalRow] = {
    val next = part.eval(input).asInstanceOf[Int]
    val merged = if (current.contains(next)) Iterator.empty else drain()
    if (!current.contains(next) && finished.get(next)) {
      throw new IllegalStateException(
        s"$Name: the blocks of part $next do not come one after the other; sort within " +
          "partitions by part first")
    }
    current = Some(next)
    counts.add(block.eval(input).asInstanceOf[Array[Byte]])
    merged
  }

  override def terminate(): Iterator[InternalRow] = {
    val merged = drain()
    current = None
    finished.clear()
    merged
  }

  private def drain(): Iterator[InternalRow] = {
    current.foreach(finished.set(_))
    val merged = counts.entries()
    counts.clear()
    merged
  }

  override protected def withNewChildrenInternal(
      newLeft: Expression, newRight: Expression): CtrMergeCounts = copy(newLeft, newRight)
}

object CtrMergeCounts {
  final val Name = "ctr_merge_counts"

  private val info = new ExpressionInfo(
    classOf[CtrMergeCounts].getName,
    null, // no database: the function belongs to the session
    Name,
    "_FUNC_(part, block) - Table-generating function that adds up what ctr_value_counts counted. " +
      "Gives rows (column, hash, rows, labelled, positives, slice), one a value; the hash of " +
      "missing values is NULL.",
    """
    Arguments:
      * part - the INT of ctr_value_counts. Rows of one part must be in one partition, one after
          the other.
      * block - the BINARY of ctr_value_counts.
  """,
    """
    Examples:
      > SELECT _FUNC_(part, block) FROM (SELECT ctr_value_counts(1D, 0, 17L, 4L));
       0\t17\t1\t1\t1\t0
       1\t4\t1\t1\t1\t0
  """,
    "", // no note
    "generator_funcs",
    "0.1.0", // of spark_ctr
    "", // not deprecated
    "scala_udf")

  /** What SparkSessionExtensions.injectFunction takes. */
  val description: (FunctionIdentifier, ExpressionInfo, Seq[Expression] => Expression) =
    (FunctionIdentifier(Name), info, build)

  private def build(arguments: Seq[Expression]): Expression = arguments match {
    case Seq(part, block) => CtrMergeCounts(part, block)
    case other => throw Arguments.wrongNumber(Name, "2 (part, block)", other.length)
  }
}
