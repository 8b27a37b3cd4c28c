package sparkctr

import org.apache.spark.sql.catalyst.expressions.XXH64
import org.apache.spark.unsafe.Platform
import org.apache.spark.unsafe.types.UTF8String

/**
 * The arithmetic of `ctr_bucket`, called by its interpreted and its generated code alike.
 *
 * The seeded hash is Spark's own `xxhash64(value, seed)`: the hash of the value under Spark's fixed
 * seed 42 becomes the seed under which the BIGINT `seed` is hashed.
 */
object BucketHash {
  /** Bucket of every null. */
  final val Missing = 0

  private final val SparkSeed = 42L

  def ofString(value: UTF8String, seed: Long, buckets: Int): Int =
    bucket(XXH64.hashUnsafeBytes(
      value.getBaseObject, value.getBaseOffset, value.numBytes, SparkSeed), seed, buckets)

  def ofBinary(value: Array[Byte], seed: Long, buckets: Int): Int =
    bucket(
      XXH64.hashUnsafeBytes(value, Platform.BYTE_ARRAY_OFFSET, value.length, SparkSeed),
      seed, buckets)

  /** TINYINT, SMALLINT and INT, all of which Spark hashes as four bytes. */
  def ofInt(value: Int, seed: Long, buckets: Int): Int =
    bucket(XXH64.hashInt(value, SparkSeed), seed, buckets)

  def ofLong(value: Long, seed: Long, buckets: Int): Int =
    bucket(XXH64.hashLong(value, SparkSeed), seed, buckets)

  // Both arguments of floorMod are long: Java 8 has no (long, int) form.
  private def bucket(valueHash: Long, seed: Long, buckets: Int): Int =
    1 + Math.floorMod(XXH64.hashLong(seed, valueHash), buckets.toLong).toInt
}
