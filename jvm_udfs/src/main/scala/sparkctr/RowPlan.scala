package sparkctr

import java.lang.ref.SoftReference
import java.nio.{BufferUnderflowException, ByteBuffer, ByteOrder}
import java.util.Arrays
import java.util.concurrent.ConcurrentHashMap

import org.apache.spark.sql.catalyst.expressions.XXH64
import org.apache.spark.unsafe.Platform

/**
 * How the values of many columns become embedding rows: what the binary `plan` of `ctr_rows` says.
 *
 * Little-endian: `Magic` and the number of columns, 4 bytes each, then for each column seven
 * numbers of 4 bytes (scheme, signed, values, buckets, offset, first bucket, private rows), the
 * seed and the hashes of the private values, 8 bytes each. `values` is 0 for a scalar column, else
 * how many elements of an array are read.
 */
private[sparkctr] final class RowPlan private (val bytes: Array[Byte]) extends Serializable {

  @transient private[sparkctr] lazy val columns: Array[ColumnPlan] = RowPlan.parse(bytes)

  /** Length of the array of rows. */
  @transient lazy val width: Int = columns.map(_.width).sum

  // A task that receives the plan takes the tables of one that had the same before.
  private def readResolve(): AnyRef = RowPlan.of(bytes)
}

private[sparkctr] object RowPlan {
  final val Magic = 0x31525443 // "CTR1"

  private val known = new ConcurrentHashMap[(Int, Long), SoftReference[RowPlan]]

  /** The plan, parsed at most once as long as memory suffices; throws IllegalArgumentException. */
  def of(bytes: Array[Byte]): RowPlan = {
    val key = (bytes.length, XXH64.hashUnsafeBytes(
      bytes, Platform.BYTE_ARRAY_OFFSET, bytes.length, Magic))
    val found = Option(known.get(key)).flatMap(r => Option(r.get))
    found.filter(p => Arrays.equals(p.bytes, bytes)).getOrElse {
      val plan = new RowPlan(bytes)
      plan.columns // a damaged plan fails here
      known.values.removeIf(_.get == null)
      known.put(key, new SoftReference(plan))
      plan
    }
  }

  private def parse(bytes: Array[Byte]): Array[ColumnPlan] = {
    val in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    try {
      if (in.getInt() != Magic) throw new IllegalArgumentException("it is not a plan of spark_ctr")
      val columns = Array.fill(in.getInt())(ColumnPlan.read(in))
      if (in.hasRemaining) throw new IllegalArgumentException("it is longer than it says")
      columns
    } catch {
      case _: BufferUnderflowException => throw new IllegalArgumentException("it is cut short")
    }
  }
}

/** One column's part of a `RowPlan`, with its private values in an open-addressing table. */
private[sparkctr] final class ColumnPlan(
    scheme: Int,
    signed: Boolean,
    val values: Int,
    buckets: Int,
    offset: Int,
    firstBucket: Int,
    seed: Long,
    head: Array[Long]) {
  import ColumnPlan._

  private val tailSlots = if (scheme == Modulo || buckets == 1) 1 else 2
  private val bag = math.max(values, 1)
  val width: Int = bag * tailSlots
  val isArray: Boolean = values > 0

  private val mask = Integer.highestOneBit(math.max(head.length, 1) * 4 - 1) - 1
  // Hash and row in turn; a row is at least 1, so 0 is free.
  private val table = new Array[Long]((mask + 1) * 2)

  for (i <- head.indices) {
    var at = slot(head(i))
    while (table(at + 1) != 0L) at = next(at)
    table(at) = head(i)
    table(at + 1) = i + 1L
  }

  private def slot(hash: Long): Int = ((hash ^ (hash >>> 32)).toInt & mask) << 1

  private def next(at: Int): Int = if (at + 2 == table.length) 0 else at + 2

  /** Write the rows of a missing value to `out` from `at` on. */
  def putMissing(out: Array[Int], at: Int): Unit = {
    out(at) = offset
    if (tailSlots == 2) out(at + 1) = offset
  }

  /** Write the rows of a value with this hash to `out` from `at` on. */
  def put(hash: Long, out: Array[Int], at: Int): Unit = {
    var i = slot(hash)
    while (table(i + 1) != 0L && table(i) != hash) i = next(i)
    if (table(i + 1) != 0L) {
      val row = offset + table(i + 1).toInt
      out(at) = row
      if (tailSlots == 2) out(at + 1) = row
    } else {
      putHashed(hash, out, at)
    }
  }

  private def putHashed(hash: Long, out: Array[Int], at: Int): Unit = {
    val first = XXH64.hashLong(seed, hash)
    if (tailSlots == 1) {
      out(at) = row(first, bucket(first, buckets))
    } else if (scheme == Double) {
      val second = XXH64.hashLong(~seed, hash)
      out(at) = row(first, bucket(first, buckets))
      out(at + 1) = row(second, bucket(second, buckets))
    } else {
      val quotients = buckets / 2
      val remainders = buckets - quotients
      val pair = Math.floorMod(first, remainders.toLong * quotients)
      out(at) = row(first, (pair % remainders).toInt)
      out(at + 1) = row(first, remainders + (pair / remainders).toInt)
    }
  }

  // Both arguments of floorMod are long: Java 8 has no (long, int) form.
  private def bucket(hash: Long, n: Int): Int = Math.floorMod(hash, n.toLong).toInt

  private def row(hash: Long, bucket: Int): Int = {
    val row = firstBucket + bucket
    if (signed && hash < 0) ~row else row
  }

  /** Fill the slots of the values from number `used` on. */
  def pad(used: Int, out: Array[Int], at: Int): Unit =
    java.util.Arrays.fill(out, at + used * tailSlots, at + width, Padding)

  def slots: Int = tailSlots
}

private[sparkctr] object ColumnPlan {
  private final val Modulo = 0
  private final val Double = 1
  private final val QuotientRemainder = 2

  /** Stands for no value at all in an array column. */
  final val Padding = Int.MinValue

  def read(in: ByteBuffer): ColumnPlan = {
    val Array(scheme, signed, values, buckets, offset, firstBucket, size) =
      Array.fill(7)(in.getInt())
    if (scheme < Modulo || scheme > QuotientRemainder || buckets < 1 || values < 0 || size < 0) {
      throw new IllegalArgumentException("it is damaged or of a newer version")
    }
    val seed = in.getLong()
    if (in.remaining / 8 < size) throw new IllegalArgumentException("it is cut short")
    val head = Array.fill(size)(in.getLong())
    new ColumnPlan(scheme, signed != 0, values, buckets, offset, firstBucket, seed, head)
  }
}
