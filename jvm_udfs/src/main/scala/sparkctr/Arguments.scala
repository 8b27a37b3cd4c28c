package sparkctr

import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.DataTypeMismatch
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.types._

/** Checks of a function's arguments: the errors that Spark's own functions give. */
private[sparkctr] object Arguments {

  /** An argument's type must be one of `allowed`; an untyped NULL passes. */
  def oneOf(name: String, e: Expression, allowed: Seq[DataType]): Option[DataTypeMismatch] =
    if (e.dataType == NullType || allowed.exists(sameType(_, e.dataType))) None
    else Some(unexpectedType(name, e, allowed))

  def notFoldable(name: String, e: Expression, nominal: DataType): Option[DataTypeMismatch] =
    if (e.foldable) None
    else Some(DataTypeMismatch("NON_FOLDABLE_INPUT", Map(
      "inputName" -> s"`$name`",
      "inputType" -> quoted(nominal.sql),
      "inputExpr" -> quoted(e.sql))))

  def nullConstant(name: String): DataTypeMismatch =
    DataTypeMismatch("UNEXPECTED_NULL", Map("exprName" -> s"`$name`"))

  // Spark puts an ordinal into paramIndex; the argument's name reads as well and says more.
  def unexpectedType(name: String, e: Expression, allowed: Seq[DataType]): DataTypeMismatch =
    DataTypeMismatch("UNEXPECTED_INPUT_TYPE", Map(
      "paramIndex" -> s"`$name`",
      "requiredType" -> allowed.map(t => quoted(t.sql)).mkString("(", " or ", ")"),
      "inputSql" -> quoted(e.sql),
      "inputType" -> quoted(e.dataType.sql)))

  /** An argument must be known before any row is read, and not null. */
  def constant(name: String, e: Expression, nominal: DataType): Option[DataTypeMismatch] =
    notFoldable(name, e, nominal)
      .orElse(if (e.eval() == null) Some(nullConstant(name)) else None)

  private def sameType(one: DataType, other: DataType): Boolean = (one, other) match {
    case (_: StringType, _: StringType) => true
    case (ArrayType(a, _), ArrayType(b, _)) => b == NullType || sameType(a, b)
    case _ => one == other
  }

  private def quoted(text: String): String = "\"" + text + "\""
}
