package sparkctr

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.{DataTypeMismatch, TypeCheckSuccess}
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/**
 * `ctr_rows(plan, value, ...)`: the embedding rows of the values of many columns, as one array.
 *
 * One expression for all columns: its generated code is a call a column, where a cascade of
 * built-in functions exceeds what the just-in-time compiler takes.
 */
case class CtrRows(children: Seq[Expression]) extends Expression {
  import CtrRows._

  private def plan = children.head
  private def values = children.tail

  override def prettyName: String = Name
  override def dataType: DataType = ArrayType(IntegerType, containsNull = false)
  override def nullable: Boolean = false
  override def foldable: Boolean = children.forall(_.foldable)

  // A plan may have millions of bytes, which nobody wants to read in EXPLAIN.
  override def toString: String = values.mkString(s"$Name(plan, ", ", ", ")")

  override def checkInputDataTypes(): TypeCheckResult =
    planProblem.orElse(valueProblem).getOrElse(TypeCheckSuccess)

  private def planProblem: Option[DataTypeMismatch] =
    if (plan.dataType != BinaryType) Some(Arguments.unexpectedType("plan", plan, Seq(BinaryType)))
    else Arguments.notFoldable("plan", plan, BinaryType).orElse(plan.eval() match {
      case null => Some(Arguments.nullConstant("plan"))
      case bytes: Array[Byte] =>
        try {
          val columns = RowPlan.of(bytes).columns.length
          if (columns == values.length) None
          else Some(wrongPlan(s"it is for $columns columns, and there are ${values.length}"))
        } catch {
          case e: IllegalArgumentException => Some(wrongPlan(e.getMessage))
        }
    })

  private def valueProblem: Option[DataTypeMismatch] =
    values.zip(rowPlan.columns).flatMap { case (value, column) =>
      val wanted = if (column.isArray) ArrayType(StringType) else StringType
      (value.dataType, column.isArray) match {
        case (NullType, _) | (_: StringType, false) | (ArrayType(_: StringType, _), true) => None
        case _ => Some(Arguments.unexpectedType("value", value, Seq(wanted)))
      }
    }.headOption

  private def wrongPlan(why: String) = DataTypeMismatch("VALUE_OUT_OF_RANGE", Map(
    "exprName" -> "`plan`",
    "valueRange" -> "a plan of HashedEmbeddingEncoderModel for as many columns",
    "currentValue" -> why))

  @transient private lazy val rowPlan = RowPlan.of(plan.eval().asInstanceOf[Array[Byte]])
  @transient private lazy val writer = new RowWriter(rowPlan)

  override def eval(input: InternalRow): Any = {
    for ((value, column) <- values.zipWithIndex) value.eval(input) match {
      case texts: ArrayData => writer.putAll(column, texts)
      case null if rowPlan.columns(column).isArray => writer.putAll(column, null)
      case text => writer.put(column, text.asInstanceOf[UTF8String])
    }
    writer.rows()
  }

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val reference = ctx.addReferenceObj("rowPlan", rowPlan, classOf[Object].getName)
    val className = classOf[RowWriter].getName
    val writer =
      ctx.addMutableState(className, "rowWriter", v => s"$v = $className.of($reference);")
    val puts = values.zipWithIndex.map { case (value, column) =>
      val v = value.genCode(ctx)
      val put = if (rowPlan.columns(column).isArray) "putAll" else "put"
      val argument = if (value.dataType == NullType) "null" else s"${v.isNull} ? null : ${v.value}"
      code"""
        ${v.code}
        $writer.$put($column, $argument);"""
    }
    ev.copy(
      code = code"""
        ${puts.foldLeft(EmptyBlock: Block)(_ + _)}
        ${CodeGenerator.javaType(dataType)} ${ev.value} = $writer.rows();""",
      isNull = FalseLiteral)
  }

  override protected def withNewChildrenInternal(
      newChildren: IndexedSeq[Expression]): CtrRows = copy(newChildren)
}

object CtrRows {
  final val Name = "ctr_rows"

  val function: SqlFunction = SqlFunction(
    classOf[CtrRows],
    Name,
    "hash_funcs",
    "> 1 (plan, value, ...)",
    "_FUNC_(plan, value, ...) - Returns the embedding-table rows, an ARRAY<INT>, of values of " +
      "many columns: private rows of frequent values, hashed rows of all others, as the plan says.",
    """
    Arguments:
      * plan - a BINARY constant: `rowPlan` of a HashedEmbeddingEncoderModel.
      * value - a STRING, or an ARRAY of STRING where the plan says so; one a column of the plan.
  """,
    """
    Examples:
      > SELECT _FUNC_(X'4354523101000000000000000000000000000000E80300000000000001000000' ||
          X'000000000700000000000000', 'click');
       [433]
  """) {
    case arguments if arguments.length >= 2 => CtrRows(arguments)
  }
}
