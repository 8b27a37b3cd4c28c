package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenFallback
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._

/**
 * `ctr_value_counts(label, slice, hash, ...)`: partial counts of the values of many columns.
 *
 * A table-generating function that keeps hash tables of all columns a task and gives them out, as
 * blocks by range of the hash, when the task ends, or earlier when they hold `MaxEntries` values.
 * `ctr_merge_counts` adds the blocks up. No row per value goes through Spark, and memory is bounded
 * whatever the vocabulary.
 */
case class CtrValueCounts(children: Seq[Expression]) extends Generator with CodegenFallback {
  import CtrValueCounts._

  private def label = children.head
  private def slice = children(1)
  private def hashes = children.drop(2)

  override def prettyName: String = Name

  override def elementSchema: StructType = new StructType()
    .add("part", IntegerType, nullable = false)
    .add("block", BinaryType, nullable = false)

  override def checkInputDataTypes(): TypeCheckResult =
    (Arguments.oneOf("label", label, Seq(DoubleType)) ++
      Arguments.oneOf("slice", slice, Seq(IntegerType)) ++
      hashes.flatMap(Arguments.oneOf("hash", _, HashTypes)))
      .headOption.getOrElse(TypeCheckSuccess)

  @transient private lazy val counts = new ColumnCounts(hashes.length)
  @transient private lazy val buffer = new Buffer(hashes.toArray, counts)

  override def eval(input: InternalRow): Iterator[InternalRow] = {
    val y = label.eval(input)
    val s = slice.eval(input) match { case null => Int.MaxValue; case i => i.asInstanceOf[Int] }
    buffer.add(input, s, y != null, y != null && y.asInstanceOf[Double] == 1.0)
    if (counts.size > MaxEntries) terminate() else Iterator.empty
  }

  override def terminate(): Iterator[InternalRow] = {
    buffer.flush()
    val rows = counts.blocks().map { case (part, block) => InternalRow(part, block) }
    counts.clear()
    rows
  }

  override protected def withNewChildrenInternal(
      newChildren: IndexedSeq[Expression]): CtrValueCounts = copy(newChildren)
}

object CtrValueCounts {
  final val Name = "ctr_value_counts"

  private val HashTypes = Seq(LongType, ArrayType(LongType), ArrayType(LongType, false))

  // Some 40 to 80 MB a task, at 40 bytes an entry and tables a quarter to a half full.
  private final val MaxEntries = 1 << 19

  /**
   * Values that wait to be counted, column by column.
   *
   * Counting a column's values in a row lets the processor wait for several entries of its table at
   * once, where counting row by row it waits for one after the other.
   */
  private final class Buffer(inputs: Array[Expression], counts: ColumnCounts) {
    // Where a hash is a field of the input row it is read without boxing; -1 elsewhere.
    private val ordinals = inputs.map {
      case BoundReference(ordinal, LongType, _) => ordinal
      case _ => -1
    }
    private val columns = Array.tabulate(inputs.length)(c => new Waiting(counts.ofValues(c)))

    def add(input: InternalRow, slice: Int, labelled: Boolean, positive: Boolean): Unit = {
      val mark = slice.toLong << 2 | (if (labelled) 2L else 0L) | (if (positive) 1L else 0L)
      var c = 0
      while (c < columns.length) {
        val ordinal = ordinals(c)
        if (ordinal < 0) addAny(c, inputs(c).eval(input), mark)
        else if (input.isNullAt(ordinal)) addNull(c, mark)
        else columns(c).add(input.getLong(ordinal), mark)
        c += 1
      }
    }

    def flush(): Unit = columns.foreach(_.flush())

    private def addAny(column: Int, value: Any, mark: Long): Unit = value match {
      case null => addNull(column, mark)
      case array: ArrayData if array.numElements() == 0 => addNull(column, mark)
      case array: ArrayData =>
        array.foreach(LongType, (_, hash) => addAny(column, hash, mark))
      case hash => columns(column).add(hash.asInstanceOf[Long], mark)
    }

    private def addNull(column: Int, mark: Long): Unit = count(counts.ofNulls(column), 0L, mark)
  }

  private final class Waiting(table: CountTable) {
    private val hashes = new Array[Long](BufferedValues)
    private val marks = new Array[Long](BufferedValues)
    private var size = 0

    def add(hash: Long, mark: Long): Unit = {
      hashes(size) = hash
      marks(size) = mark
      size += 1
      if (size == BufferedValues) flush()
    }

    def flush(): Unit = {
      var i = 0
      while (i < size) {
        count(table, hashes(i), marks(i))
        i += 1
      }
      size = 0
    }
  }

  private final val BufferedValues = 1024

  private def count(table: CountTable, hash: Long, mark: Long): Unit =
    table.add(hash, 1L, mark >>> 1 & 1L, mark & 1L, mark >> 2)

  val function: SqlFunction = SqlFunction(
    classOf[CtrValueCounts],
    Name,
    "generator_funcs",
    "> 2 (label, slice, hash, ...)",
    "_FUNC_(label, slice, hash, ...) - Table-generating function that counts the values of many " +
      "columns in one pass. Gives rows (part, block) for ctr_merge_counts.",
    """
    Arguments:
      * label - a DOUBLE: 1 is positive, any other number negative, NULL unlabelled.
      * slice - an INT, such as the part of the log that a row belongs to; the smallest of a
          value's rows is kept.
      * hash - a BIGINT, such as xxhash64(value), or an ARRAY of them, whose elements count one by
          one. NULL and an empty array count as missing.
  """,
    """
    Examples:
      > SELECT part, length(block) FROM (SELECT _FUNC_(1D, 0, 17L, 4L));
       0	96
  """) {
    case arguments if arguments.length >= 3 => CtrValueCounts(arguments)
  }
}
