package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow
import org.apache.spark.unsafe.Platform

/**
 * Counts of the values of many columns, nulls apart, that go from task to task as blocks of bytes.
 *
 * A block holds the entries of one of `Parts` ranges of the hash. Of each column it has the
 * column's number (`~number` for its nulls), the number of entries, both 4 bytes, and the entries'
 * words.
 */
private[sparkctr] final class ColumnCounts(columns: Int = 0) {
  import ColumnCounts._
  import CountTable.Width

  private var values = Array.fill(columns)(new CountTable)
  private var nulls = Array.fill(columns)(new CountTable)

  /** Different values, nulls not among them. */
  def size: Int = {
    var sum = 0
    var c = 0
    while (c < values.length) {
      sum += values(c).size
      c += 1
    }
    sum
  }

  def ofValues(column: Int): CountTable = values(column)

  def ofNulls(column: Int): CountTable = nulls(column)

  def clear(): Unit = (values ++ nulls).foreach(_.clear())

  /** Rows of `CtrMergeCounts`, in one object, as Spark copies a row before it asks for more. */
  def entries(): Iterator[InternalRow] = {
    val row = new GenericInternalRow(6)
    def fill(column: Int, hash: Any, words: Array[Long], at: Int): InternalRow = {
      row.update(0, column)
      row.update(1, hash)
      row.update(2, words(at + 1))
      row.update(3, words(at + 2))
      row.update(4, words(at + 3))
      row.update(5, words(at + 4).toInt)
      row
    }
    // The tables are looked at now, as they are cleared before the rows are read.
    val ofValues = values.indices.map(c => values(c).iterator((w, at) => fill(c, w(at), w, at)))
    val ofNulls = nulls.indices.map(c => nulls(c).iterator((w, at) => fill(c, null, w, at)))
    (ofValues ++ ofNulls).iterator.flatten
  }

  /** Call `use` with column, whether it is about nulls, words and position of each entry. */
  def foreach(use: (Int, Boolean, Array[Long], Int) => Unit): Unit =
    for (c <- values.indices) {
      values(c).foreach((words, at) => use(c, false, words, at))
      nulls(c).foreach((words, at) => use(c, true, words, at))
    }

  /** Everything counted so far, as (part, block). */
  def blocks(): Iterator[(Int, Array[Byte])] = {
    val numbered = values.indices.map(c => (c, values(c))) ++ nulls.indices.map(c => (~c, nulls(c)))
    val sorted = numbered.filter(_._2.size > 0).map { case (number, table) =>
      (number, new Sorted(table))
    }
    Iterator.range(0, Parts).map(part => (part, block(part, sorted))).filter(_._2.nonEmpty)
  }

  private def block(part: Int, sorted: Seq[(Int, Sorted)]): Array[Byte] = {
    val present = sorted.filter(_._2.count(part) > 0)
    val bytes = new Array[Byte](present.map(8 + _._2.count(part) * Width * 8).sum)
    var at: Long = Platform.BYTE_ARRAY_OFFSET
    for ((number, entries) <- present) {
      val size = entries.count(part) * Width * 8
      Platform.putInt(bytes, at, number)
      Platform.putInt(bytes, at + 4, entries.count(part))
      Platform.copyMemory(
        entries.words, Platform.LONG_ARRAY_OFFSET + entries.start(part) * Width * 8L,
        bytes, at + 8, size)
      at += 8 + size
    }
    bytes
  }

  /** Add what a block holds. */
  def add(block: Array[Byte]): Unit = {
    var at: Long = Platform.BYTE_ARRAY_OFFSET
    val end = at + block.length
    while (at < end) {
      val number = Platform.getInt(block, at)
      val stop = at + 8 + Platform.getInt(block, at + 4) * Width * 8L
      val column = if (number < 0) ~number else number
      while (values.length <= column) {
        values :+= new CountTable
        nulls :+= new CountTable
      }
      val table = if (number < 0) nulls(column) else values(column)
      at += 8
      while (at < stop) {
        table.add(
          Platform.getLong(block, at), Platform.getLong(block, at + 8),
          Platform.getLong(block, at + 16), Platform.getLong(block, at + 24),
          Platform.getLong(block, at + 32))
        at += Width * 8
      }
    }
  }
}

private[sparkctr] object ColumnCounts {
  /** A 256th of 50 million values is some 8 MB of entries. */
  final val Parts = 256

  private def partOf(hash: Long): Int = (hash >>> 56).toInt

  /** A table's entries in the order of their parts. */
  private final class Sorted(table: CountTable) {
    import CountTable.Width

    private val starts = new Array[Int](Parts + 1)
    val words = new Array[Long](table.size * Width)

    table.foreach((from, at) => starts(partOf(from(at)) + 1) += 1)
    for (part <- 0 until Parts) starts(part + 1) += starts(part)

    private val free = starts.clone()
    table.foreach { (from, at) =>
      val part = partOf(from(at))
      System.arraycopy(from, at, words, free(part) * Width, Width)
      free(part) += 1
    }

    def start(part: Int): Int = starts(part)
    def count(part: Int): Int = starts(part + 1) - starts(part)
  }
}
