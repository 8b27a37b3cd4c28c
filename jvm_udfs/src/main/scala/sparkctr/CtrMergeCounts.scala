package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.types._

/** `ctr_merge_counts(part, block)`: the counts of every value. */
case class CtrMergeCounts(part: Expression, block: Expression) extends BlockMerger {

  override def prettyName: String = CtrMergeCounts.Name

  override def elementSchema: StructType = new StructType()
    .add("column", IntegerType, nullable = false)
    .add("hash", LongType)
    .add("rows", LongType, nullable = false)
    .add("labelled", LongType, nullable = false)
    .add("positives", LongType, nullable = false)
    .add("slice", IntegerType, nullable = false)

  override protected def finish(counts: ColumnCounts): Iterator[InternalRow] = counts.entries()

  override protected def close(): Iterator[InternalRow] = Iterator.empty

  override protected def withNewChildrenInternal(
      newLeft: Expression, newRight: Expression): CtrMergeCounts = copy(newLeft, newRight)
}

object CtrMergeCounts {
  final val Name = "ctr_merge_counts"

  val function: SqlFunction = SqlFunction(
    classOf[CtrMergeCounts],
    Name,
    "generator_funcs",
    "2 (part, block)",
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
       0	17	1	1	1	0
       1	4	1	1	1	0
  """) {
    case Seq(part, block) => CtrMergeCounts(part, block)
  }
}
