package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions.{BinaryExpression, Expression}
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/**
 * `ctr_cut(number, cuts)`: the number of a bucket, as text.
 *
 * Its generated code is one call, where a comparison a cut fills a method that the just-in-time
 * compiler does not take.
 */
case class CtrCut(number: Expression, cuts: Expression) extends BinaryExpression {
  import CtrCut._

  override def left: Expression = number
  override def right: Expression = cuts

  override def prettyName: String = Name
  override def nullable: Boolean = true
  override def dataType: DataType = StringType

  // The cuts of every column would hide the rest of EXPLAIN.
  override def toString: String = s"$Name($number)"

  override def checkInputDataTypes(): TypeCheckResult =
    Arguments.oneOf("number", number, Seq(DoubleType))
      .orElse(Arguments.oneOf("cuts", cuts, Seq(ArrayType(DoubleType))))
      .orElse(Arguments.constant("cuts", cuts, ArrayType(DoubleType)))
      .getOrElse(TypeCheckSuccess)

  @transient private lazy val buckets = new Buckets(
    cuts.eval().asInstanceOf[ArrayData].toArray[Any](DoubleType).collect { case c: Double => c })

  override def eval(input: InternalRow): Any = {
    val x = number.eval(input)
    if (x == null) null else buckets.of(x.asInstanceOf[Double])
  }

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val reference = ctx.addReferenceObj("buckets", buckets)
    val x = number.genCode(ctx)
    val bucket = if (number.dataType == NullType) "null" else s"$reference.of(${x.value})"
    ev.copy(code = code"""
      ${x.code}
      UTF8String ${ev.value} = ${x.isNull} ? null : $bucket;
      boolean ${ev.isNull} = ${ev.value} == null;""")
  }

  override protected def withNewChildrenInternal(
      newLeft: Expression, newRight: Expression): CtrCut = copy(newLeft, newRight)
}

/** Numbers of buckets; `cuts` rise, and each begins a bucket. */
private[sparkctr] final class Buckets(cuts: Array[Double]) extends Serializable {
  private val names = Array.tabulate(cuts.length + 1)(i => UTF8String.fromString(i.toString))

  /** The bucket of a number; null for NaN and infinity. */
  def of(x: Double): UTF8String =
    if (!(math.abs(x) < Double.PositiveInfinity)) {
      null
    } else {
      var low = 0
      var high = cuts.length
      while (low < high) {
        val middle = (low + high) >>> 1
        // Not Arrays.binarySearch, to which -0.0 is below 0.0.
        if (x < cuts(middle)) high = middle else low = middle + 1
      }
      names(low)
    }
}

object CtrCut {
  final val Name = "ctr_cut"

  val function: SqlFunction = SqlFunction(
    classOf[CtrCut],
    Name,
    "math_funcs",
    "2 (number, cuts)",
    "_FUNC_(number, cuts) - Returns how many of the cuts are at most the number, as a STRING; " +
      "NULL for NULL, NaN and infinity.",
    """
    Arguments:
      * number - a DOUBLE.
      * cuts - an ARRAY<DOUBLE> constant of rising numbers.
  """,
    """
    Examples:
      > SELECT _FUNC_(1.5D, array(0D, 1D, 2D));
       2
  """) {
    case Seq(number, cuts) => CtrCut(number, cuts)
  }
}
