package sparkctr

import org.apache.spark.sql.catalyst.{FunctionIdentifier, InternalRow}
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

  @transient private lazy val counts = new ColumnCounts
  @transient private lazy val buffer = new Buffer(hashes.toArray)

  override def eval(input: InternalRow): Iterator[InternalRow] = {
    val y = label.eval(input)
    val s = slice.eval(input) match { case null => Int.MaxValue; case i => i.asInstanceOf[Int] }
    buffer.add(input, s, y != null, y != null && y.asInstanceOf[Double] == 1.0)
    if (!buffer.full) Iterator.empty
    else if (buffer.count(counts) <= MaxEntries) Iterator.empty
    else drain()
  }

  override def terminate(): Iterator[InternalRow] = {
    buffer.count(counts)
    drain()
  }

  private def drain(): Iterator[InternalRow] = {
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
  private final class Buffer(inputs: Array[Expression]) {
    // Where a hash is a field of the input row it is read without boxing; -1 elsewhere.
    private val ordinals = inputs.map {
      case BoundReference(ordinal, LongType, _) => ordinal
      case _ => -1
    }
    private val columns = Array.fill(inputs.length)(new BufferedColumn)
    private var rows = 0

    def full: Boolean = rows >= BufferedRows

    def add(input: InternalRow, slice: Int, labelled: Boolean, positive: Boolean): Unit = {
      val mark = slice.toLong << 2 | (if (labelled) 2L else 0L) | (if (positive) 1L else 0L)
      var c = 0
      while (c < columns.length) {
        val ordinal = ordinals(c)
        if (ordinal < 0) addAny(columns(c), inputs(c).eval(input), mark)
        else if (input.isNullAt(ordinal)) columns(c).addNull(mark)
        else columns(c).add(input.getLong(ordinal), mark)
        c += 1
      }
      rows += 1
    }

    private def addAny(column: BufferedColumn, value: Any, mark: Long): Unit = value match {
      case null => column.addNull(mark)
      case array: ArrayData if array.numElements() == 0 => column.addNull(mark)
      case array: ArrayData =>
        array.foreach(LongType, (_, hash) => addAny(column, hash, mark))
      case hash => column.add(hash.asInstanceOf[Long], mark)
    }

    /** Count what waits; returns the number of different values counted so far. */
    def count(counts: ColumnCounts): Int = {
      counts.ensure(columns.length)
      var entries = 0
      for (c <- columns.indices) {
        columns(c).countInto(counts.ofValues(c), counts.ofNulls(c))
        entries += counts.ofValues(c).size
      }
      rows = 0
      entries
    }
  }

  private final val BufferedRows = 1024

  private final class BufferedColumn {
    private var hashes = new Array[Long](BufferedRows)
    private var marks = new Array[Long](BufferedRows)
    private var nulls = Array.empty[Long]
    private var size = 0

    def add(hash: Long, mark: Long): Unit = {
      if (size == hashes.length) { // an array column has several values a row
        hashes = java.util.Arrays.copyOf(hashes, size * 2)
        marks = java.util.Arrays.copyOf(marks, size * 2)
      }
      hashes(size) = hash
      marks(size) = mark
      size += 1
    }

    private var nullCount = 0

    def addNull(mark: Long): Unit = {
      if (nullCount == nulls.length) nulls = java.util.Arrays.copyOf(nulls, math.max(64, nullCount * 2))
      nulls(nullCount) = mark
      nullCount += 1
    }

    def countInto(values: CountTable, missing: CountTable): Unit = {
      var i = 0
      while (i < size) {
        val mark = marks(i)
        values.add(hashes(i), 1L, mark >>> 1 & 1L, mark & 1L, mark >> 2)
        i += 1
      }
      i = 0
      while (i < nullCount) {
        val mark = nulls(i)
        missing.add(0L, 1L, mark >>> 1 & 1L, mark & 1L, mark >> 2)
        i += 1
      }
      size = 0
      nullCount = 0
    }
  }

  private val info = new ExpressionInfo(
    classOf[CtrValueCounts].getName,
    null, // no database: the function belongs to the session
    Name,
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
      > SELECT part FROM (SELECT _FUNC_(1D, 0, xxhash64('a'), xxhash64('a')));
       -
  """,
    "", // no note
    "generator_funcs",
    "0.1.0", // of spark_ctr
    "", // not deprecated
    "scala_udf")

  /** What SparkSessionExtensions.injectFunction takes. */
  val description: (FunctionIdentifier, ExpressionInfo, Seq[Expression] => Expression) =
    (FunctionIdentifier(Name), info, build)

  private def build(arguments: Seq[Expression]): Expression =
    if (arguments.length >= 3) CtrValueCounts(arguments)
    else throw Arguments.wrongNumber(Name, "> 2 (label, slice, hash, ...)", arguments.length)
}
