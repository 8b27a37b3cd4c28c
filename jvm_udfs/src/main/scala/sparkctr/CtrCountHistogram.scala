package sparkctr

import java.util.HashMap

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.types._

/**
 * `ctr_count_histogram(part, block)`: how many values of a column have the same counts.
 *
 * What grouping the output of `ctr_merge_counts` by all but the hash would give, once a task,
 * without a row per value.
 */
case class CtrCountHistogram(part: Expression, block: Expression) extends BlockMerger {
  import CtrCountHistogram._

  override def prettyName: String = Name

  override def elementSchema: StructType = new StructType()
    .add("column", IntegerType, nullable = false)
    .add("missing", BooleanType, nullable = false)
    .add("rows", LongType, nullable = false)
    .add("labelled", LongType, nullable = false)
    .add("positives", LongType, nullable = false)
    .add("slice", IntegerType, nullable = false)
    .add("values", LongType, nullable = false)

  @transient private lazy val kinds = new HashMap[Kind, Array[Long]]

  override protected def finish(counts: ColumnCounts): Iterator[InternalRow] = {
    counts.foreach { (column, missing, words, at) =>
      val kind =
        Kind(column, missing, words(at + 1), words(at + 2), words(at + 3), words(at + 4).toInt)
      val found = kinds.get(kind)
      if (found == null) kinds.put(kind, Array(1L)) else found(0) += 1
    }
    Iterator.empty
  }

  override protected def close(): Iterator[InternalRow] = {
    val rows = new Array[InternalRow](kinds.size)
    var i = 0
    kinds.forEach { (k, n) =>
      rows(i) =
        InternalRow(k.column, k.missing, k.rows, k.labelled, k.positives, k.slice, n(0))
      i += 1
    }
    kinds.clear()
    rows.iterator
  }

  override protected def withNewChildrenInternal(
      newLeft: Expression, newRight: Expression): CtrCountHistogram = copy(newLeft, newRight)
}

object CtrCountHistogram {
  final val Name = "ctr_count_histogram"

  private case class Kind(
      column: Int, missing: Boolean, rows: Long, labelled: Long, positives: Long, slice: Int)

  val function: SqlFunction = SqlFunction(
    classOf[CtrCountHistogram],
    Name,
    "generator_funcs",
    "2 (part, block)",
    "_FUNC_(part, block) - Table-generating function that says how many values have the same " +
      "counts. Gives rows (column, missing, rows, labelled, positives, slice, values), a kind of " +
      "value once a task: sum the values by all other columns.",
    """
    Arguments:
      * part - the INT of ctr_value_counts. Rows of one part must be in one partition, one after
          the other.
      * block - the BINARY of ctr_value_counts.
  """,
    """
    Examples:
      > SELECT _FUNC_(part, block) FROM (SELECT ctr_value_counts(1D, 0, 17L, NULL));
       0	false	1	1	1	0	1
       1	true	1	1	1	0	1
  """) {
    case Seq(part, block) => CtrCountHistogram(part, block)
  }
}
