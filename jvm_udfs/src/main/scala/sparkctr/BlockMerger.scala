package sparkctr

import java.util.BitSet

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenFallback
import org.apache.spark.sql.catalyst.trees.BinaryLike
import org.apache.spark.sql.types._

/**
 * A table-generating function of `(part, block)` that adds up the blocks of `ctr_value_counts`.
 *
 * All blocks of a part must come in one task, one after the other (repartition by part, then sort
 * within partitions by part); the values of one part at a time are in memory.
 */
private[sparkctr] trait BlockMerger extends Generator with CodegenFallback
    with BinaryLike[Expression] {

  def part: Expression
  def block: Expression

  override def left: Expression = part
  override def right: Expression = block

  /** What comes of a part whose counts are complete. */
  protected def finish(counts: ColumnCounts): Iterator[InternalRow]

  /** What comes when no part is left. */
  protected def close(): Iterator[InternalRow]

  override def checkInputDataTypes(): TypeCheckResult =
    Arguments.oneOf("part", part, Seq(IntegerType))
      .orElse(Arguments.oneOf("block", block, Seq(BinaryType)))
      .getOrElse(TypeCheckSuccess)

  @transient private lazy val counts = new ColumnCounts
  @transient private lazy val finished = new BitSet(ColumnCounts.Parts)
  @transient private var current = None: Option[Int]

  override def eval(input: InternalRow): Iterator[InternalRow] = {
    val next = part.eval(input).asInstanceOf[Int]
    val merged = if (current.contains(next)) Iterator.empty else finishPart()
    if (finished.get(next)) {
      throw new IllegalStateException(
        s"$prettyName: the blocks of part $next do not come one after the other; sort within " +
          "partitions by part first")
    }
    current = Some(next)
    counts.add(block.eval(input).asInstanceOf[Array[Byte]])
    merged
  }

  override def terminate(): Iterator[InternalRow] = {
    val merged = finishPart()
    current = None
    finished.clear()
    merged ++ close()
  }

  private def finishPart(): Iterator[InternalRow] = {
    current.foreach(finished.set(_))
    val merged = finish(counts)
    counts.clear()
    merged
  }
}
