package sparkctr

import org.apache.spark.ml.linalg.SQLDataTypes
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.TypeCheckSuccess
import org.apache.spark.sql.catalyst.expressions.{BinaryExpression, Expression, GenericInternalRow, UnsafeArrayData}
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.types._

/** `ctr_vector(x, y)`: a dense vector of Spark ML, made without its object. */
case class CtrVector(left: Expression, right: Expression) extends BinaryExpression {
  import CtrVector._

  override def prettyName: String = Name
  override def dataType: DataType = SQLDataTypes.VectorType
  override def nullable: Boolean = true

  override def checkInputDataTypes(): TypeCheckResult =
    Seq("x" -> left, "y" -> right).collectFirst {
      case (name, e) if e.dataType != DoubleType =>
        Arguments.unexpectedType(name, e, Seq(DoubleType))
    }.getOrElse(TypeCheckSuccess)

  override protected def nullSafeEval(x: Any, y: Any): Any =
    CtrVector.of(x.asInstanceOf[Double], y.asInstanceOf[Double])

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode =
    defineCodeGen(ctx, ev, (x, y) => s"${classOf[CtrVector].getName}.of($x, $y)")

  override protected def withNewChildrenInternal(
      newLeft: Expression, newRight: Expression): CtrVector = copy(newLeft, newRight)
}

object CtrVector {
  final val Name = "ctr_vector"

  private final val Dense: Byte = 1

  /** The row that Spark ML stores a dense vector as: kind, size and indices of a sparse one. */
  def of(x: Double, y: Double): InternalRow = new GenericInternalRow(
    Array[Any](Dense, null, null, UnsafeArrayData.fromPrimitiveArray(Array(x, y))))

  val function: SqlFunction = SqlFunction(
    classOf[CtrVector],
    Name,
    "misc_funcs",
    "2 (x, y)",
    "_FUNC_(x, y) - Returns the dense vector of two numbers, as the columns rawPrediction and " +
      "probability of Spark ML hold them.",
    """
    Arguments:
      * x - a DOUBLE.
      * y - a DOUBLE.
  """,
    """
    Examples:
      > SELECT _FUNC_(0.25D, 0.75D);
       [0.25,0.75]
  """) {
    case Seq(x, y) => CtrVector(x, y)
  }
}
