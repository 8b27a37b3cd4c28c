package sparkctr

import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.catalyst.{FunctionIdentifier, InternalRow}
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.{DataTypeMismatch, TypeCheckSuccess}
import org.apache.spark.sql.catalyst.expressions.{Expression, ExpressionInfo}
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
    valueProblem
      .orElse(constantProblem("seed", seed, LongType, Long.MinValue, Long.MaxValue))
      .orElse(constantProblem("numBuckets", numBuckets, IntegerType, 1, Int.MaxValue))
      .getOrElse(TypeCheckSuccess)

  private def valueProblem: Option[DataTypeMismatch] = value.dataType match {
    case _: StringType | BinaryType | ByteType | ShortType | IntegerType | LongType | NullType =>
      None
    case _ =>
      val allowed = Seq(StringType, BinaryType, ByteType, ShortType, IntegerType, LongType)
      Some(unexpectedType("value", value, allowed))
  }

  private def constantProblem(
      name: String, e: Expression, nominal: DataType, low: Long, high: Long) =
    e.dataType match {
      case ByteType | ShortType | IntegerType | LongType =>
        if (!e.foldable) {
          Some(DataTypeMismatch("NON_FOLDABLE_INPUT", Map(
            "inputName" -> s"`$name`",
            "inputType" -> quoted(nominal.sql),
            "inputExpr" -> quoted(e.sql))))
        } else {
          constant(e) match {
            case None =>
              Some(DataTypeMismatch("UNEXPECTED_NULL", Map("exprName" -> s"`$name`")))
            case Some(v) if v < low || v > high =>
              Some(DataTypeMismatch("VALUE_OUT_OF_RANGE", Map(
                "exprName" -> s"`$name`",
                "valueRange" -> s"[$low, $high]",
                "currentValue" -> v.toString)))
            case _ => None
          }
        }
      case _ => Some(unexpectedType(name, e, Seq(nominal)))
    }

  // Spark puts an ordinal into paramIndex; the argument's name reads as well and says more.
  private def unexpectedType(name: String, e: Expression, allowed: Seq[DataType]) =
    DataTypeMismatch("UNEXPECTED_INPUT_TYPE", Map(
      "paramIndex" -> s"`$name`",
      "requiredType" -> allowed.map(t => quoted(t.sql)).mkString("(", " or ", ")"),
      "inputSql" -> quoted(e.sql),
      "inputType" -> quoted(e.dataType.sql)))

  private def quoted(text: String): String = "\"" + text + "\""

  private def constant(e: Expression): Option[Long] =
    Option(e.eval()).map(_.asInstanceOf[Number].longValue)

  @transient private lazy val seedValue: Long = constant(seed).get
  @transient private lazy val buckets: Int = constant(numBuckets).get.toInt

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

  private val Arguments = Seq("value", "seed", "numBuckets")

  private val info = new ExpressionInfo(
    classOf[CtrBucket].getName,
    null, // no database: the function belongs to the session
    Name,
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
  """,
    "", // no note
    "hash_funcs",
    "0.1.0", // of spark_ctr
    "", // not deprecated
    "scala_udf")

  /** What SparkSessionExtensions.injectFunction takes. */
  val description: (FunctionIdentifier, ExpressionInfo, Seq[Expression] => Expression) =
    (FunctionIdentifier(Name), info, build)

  private def build(arguments: Seq[Expression]): Expression = arguments match {
    case Seq(value, seed, numBuckets) => CtrBucket(value, seed, numBuckets)
    case other =>
      throw new AnalysisException(
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        Map(
          "functionName" -> s"`$Name`",
          "expectedNum" -> Arguments.mkString(s"${Arguments.length} (", ", ", ")"),
          "actualNum" -> other.length.toString,
          "docroot" -> "https://spark.apache.org/docs/latest"))
  }
}
