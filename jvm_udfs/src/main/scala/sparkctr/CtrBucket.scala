package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.trees.TernaryLike
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/**
 * `ctr_bucket(value, seed, numBuckets)`: the row of an embedding table that a value hashes to.
 *
 * Null is 0; anything else is `1 + pmod(xxhash64(value, CAST(seed AS BIGINT)), numBuckets)`, in
 * [1, numBuckets]. Strings are hashed by their UTF-8 bytes, whatever their collation. `value` is a
 * STRING, BINARY or integral column; `seed` and `numBuckets` are constants of any integral type.
 */
case class CtrBucket(value: Expression, seed: Expression, numBuckets: Expression)
    extends Expression with TernaryLike[Expression] {

  override def first: Expression = value
  override def second: Expression = seed
  override def third: Expression = numBuckets

  override def prettyName: String = CtrBucket.Name
  override def dataType: DataType = IntegerType
  override def nullable: Boolean = false
  override def foldable: Boolean = children.forall(_.foldable)

  override def checkInputDataTypes(): TypeCheckResult =
    Arguments.oneOf("value", value, CtrBucket.ValueTypes)
      .orElse(Arguments.constant("seed", seed, LongType, Long.MinValue, Long.MaxValue))
      .orElse(Arguments.constant("numBuckets", numBuckets, IntegerType, 1, Int.MaxValue))
      .getOrElse(TypeCheckSuccess)

  private def constant(e: Expression): Long = e.eval().asInstanceOf[Number].longValue

  @transient private lazy val seedValue: Long = constant(seed)
  @transient private lazy val buckets: Int = constant(numBuckets).toInt

  override def eval(input: InternalRow): Any = value.eval(input) match {
    case null => BucketHash.Missing
    case s: UTF8String => BucketHash.ofString(s, seedValue, buckets)
    case b: Array[Byte] => BucketHash.ofBinary(b, seedValue, buckets)
    case l: Long => BucketHash.ofLong(l, seedValue, buckets)
    case n => BucketHash.ofInt(n.asInstanceOf[Number].intValue, seedValue, buckets)
  }

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val v = value.genCode(ctx)
    val hash = "sparkctr.BucketHash." + (value.dataType match {
      case BinaryType => "ofBinary"
      case LongType => "ofLong"
      case ByteType | ShortType | IntegerType => "ofInt"
      case _ => "ofString" // NULL too: its branch is never taken, but it must compile
    })
    val input = if (value.dataType == NullType) "null" else v.value.toString
    val missing = BucketHash.Missing
    ev.copy(
      code = code"""
        ${v.code}
        ${CodeGenerator.javaType(dataType)} ${ev.value} =
          ${v.isNull} ? $missing : $hash($input, ${seedValue}L, $buckets);""",
      isNull = FalseLiteral)
  }

  override protected def withNewChildrenInternal(
      newFirst: Expression, newSecond: Expression, newThird: Expression): CtrBucket =
    copy(newFirst, newSecond, newThird)
}

object CtrBucket {
  final val Name = "ctr_bucket"

  private val ValueTypes =
    Seq(StringType, BinaryType, ByteType, ShortType, IntegerType, LongType)

  val function: SqlFunction = SqlFunction(
    classOf[CtrBucket],
    Name,
    "hash_funcs",
    "3 (value, seed, numBuckets)",
    "_FUNC_(value, seed, numBuckets) - Returns the embedding-table row, an INT, that `value` " +
      "hashes to: 0 for NULL, else 1 + pmod(xxhash64(value, CAST(seed AS BIGINT)), numBuckets), " +
      "which is in [1, numBuckets].",
    """
    Arguments:
      * value - a STRING (hashed by its UTF-8 bytes, whatever its collation), BINARY, TINYINT,
          SMALLINT, INT or BIGINT expression, hashed as the built-in xxhash64 hashes it. An INT
          and a BIGINT of the same value hash differently.
      * seed - a constant of an integral type, used as a BIGINT. One seed per column keeps the
          collisions of columns independent.
      * numBuckets - a constant of an integral type in [1, 2147483647].
  """,
    """
    Examples:
      > SELECT _FUNC_('click', 7, 1000);
       433
      > SELECT _FUNC_(NULL, 7, 1000);
       0
  """) {
    case Seq(value, seed, numBuckets) => CtrBucket(value, seed, numBuckets)
  }
}
