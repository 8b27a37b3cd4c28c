package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.{DataTypeMismatch, TypeCheckSuccess}
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._

/**
 * `ctr_pack(ids, numbers, width, count)`: the features of a row as bytes, the same number for each.
 *
 * So they cross to Python as one column, whose values lie side by side in memory: a matrix.
 */
case class CtrPack(children: Seq[Expression]) extends Expression {
  import CtrPack._

  private def ids = children(0)
  private def numbers = children(1)

  override def prettyName: String = Name
  override def dataType: DataType = BinaryType
  override def nullable: Boolean = false
  override def foldable: Boolean = children.forall(_.foldable)

  override def checkInputDataTypes(): TypeCheckResult =
    arrayProblem("ids", ids, Seq(IntegerType))
      .orElse(arrayProblem("numbers", numbers, Seq(FloatType, DoubleType)))
      .orElse(lengthProblem("width", children(2)))
      .orElse(lengthProblem("count", children(3)))
      .getOrElse(TypeCheckSuccess)

  private def arrayProblem(
      name: String, e: Expression, elements: Seq[DataType]): Option[DataTypeMismatch] =
    e.dataType match {
      case ArrayType(element, _) if elements.contains(element) => None
      case _ => Some(Arguments.unexpectedType(name, e, elements.map(ArrayType(_))))
    }

  private def lengthProblem(name: String, e: Expression): Option[DataTypeMismatch] =
    if (e.dataType != IntegerType) Some(Arguments.unexpectedType(name, e, Seq(IntegerType)))
    else Arguments.notFoldable(name, e, IntegerType).orElse(e.eval() match {
      case null => Some(Arguments.nullConstant(name))
      case n: Int if n < 0 || n > MostElements =>
        Some(DataTypeMismatch("VALUE_OUT_OF_RANGE", Map(
          "exprName" -> s"`$name`",
          "valueRange" -> s"[0, $MostElements]",
          "currentValue" -> n.toString)))
      case _ => None
    })

  @transient private lazy val width = children(2).eval().asInstanceOf[Int]
  @transient private lazy val count = children(3).eval().asInstanceOf[Int]
  @transient private lazy val doubles = numbers.dataType match {
    case ArrayType(DoubleType, _) => true
    case _ => false
  }

  override def eval(input: InternalRow): Any = PackedRow.pack(
    ids.eval(input).asInstanceOf[ArrayData], numbers.eval(input).asInstanceOf[ArrayData],
    width, count, doubles)

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val Seq(i, n) = Seq(ids, numbers).map(_.genCode(ctx))
    val packer = PackedRow.getClass.getName.stripSuffix("$")
    def orNull(code: ExprCode) = s"${code.isNull} ? null : ${code.value}"
    ev.copy(
      code = code"""
        ${i.code}
        ${n.code}
        byte[] ${ev.value} =
          $packer.pack(${orNull(i)}, ${orNull(n)}, $width, $count, $doubles);""",
      isNull = FalseLiteral)
  }

  override protected def withNewChildrenInternal(
      newChildren: IndexedSeq[Expression]): CtrPack = copy(newChildren)
}

object CtrPack {
  final val Name = "ctr_pack"

  private final val MostElements = 1 << 24

  val function: SqlFunction = SqlFunction(
    classOf[CtrPack],
    Name,
    "array_funcs",
    "4 (ids, numbers, width, count)",
    "_FUNC_(ids, numbers, width, count) - Returns the first ids and numbers of a row as a BINARY " +
      "of 4 bytes each, ids first, little-endian. A missing id is 2147483647, a missing number " +
      "NaN; there is one byte more where an array is null or of another length.",
    """
    Arguments:
      * ids - an ARRAY<INT>.
      * numbers - an ARRAY<FLOAT>, or an ARRAY<DOUBLE> that is rounded to floats.
      * width - how many ids there should be, a constant.
      * count - how many numbers there should be, a constant.
  """,
    """
    Examples:
      > SELECT hex(_FUNC_(array(1, 258), array(1.0F), 2, 1));
       01000000020100000000803F
      > SELECT hex(_FUNC_(array(1, 2, 3), array(CAST(NULL AS DOUBLE)), 2, 1));
       01000000020000000000C07F00
  """) {
    case arguments if arguments.length == 4 => CtrPack(arguments)
  }
}
