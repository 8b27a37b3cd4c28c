package sparkctr

import java.util.regex.PatternSyntaxException

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult.{DataTypeMismatch, TypeCheckSuccess}
import org.apache.spark.sql.catalyst.expressions.{Expression, TernaryExpression}
import org.apache.spark.sql.catalyst.expressions.codegen._
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/**
 * `ctr_clean(text, spaces, missing)`: the clean text, or of an array the clean texts.
 *
 * Its generated code is one call, where a regular expression, a trim and a comparison a placeholder
 * fill a method that the just-in-time compiler does not take.
 */
case class CtrClean(text: Expression, spaces: Expression, missing: Expression)
    extends TernaryExpression {
  import CtrClean._

  override def first: Expression = text
  override def second: Expression = spaces
  override def third: Expression = missing

  override def prettyName: String = Name
  override def nullable: Boolean = true
  override def dataType: DataType =
    if (isArray) ArrayType(StringType, containsNull = true) else StringType

  private def isArray = text.dataType.isInstanceOf[ArrayType]

  // The placeholders of every column would hide the rest of EXPLAIN.
  override def toString: String = s"$Name($text)"

  override def checkInputDataTypes(): TypeCheckResult =
    Arguments.oneOf("text", text, Texts)
      .orElse(Arguments.oneOf("spaces", spaces, Seq(StringType)))
      .orElse(Arguments.constant("spaces", spaces, StringType))
      .orElse(Arguments.oneOf("missing", missing, Seq(ArrayType(StringType))))
      .orElse(Arguments.constant("missing", missing, ArrayType(StringType)))
      .orElse(spacesProblem)
      .getOrElse(TypeCheckSuccess)

  private def spacesProblem: Option[DataTypeMismatch] =
    try {
      WhiteSpace.matching(spaces.eval().toString)
      None
    } catch {
      case e: PatternSyntaxException => Some(DataTypeMismatch("VALUE_OUT_OF_RANGE", Map(
        "exprName" -> "`spaces`",
        "valueRange" -> "a regular expression of one character",
        "currentValue" -> e.getDescription)))
    }

  @transient private lazy val cleaner = new TextCleaner(
    spaces.eval().toString,
    missing.eval().asInstanceOf[ArrayData].toArray[UTF8String](StringType).filter(_ != null))

  override def eval(input: InternalRow): Any = text.eval(input) match {
    case texts: ArrayData => cleaner.cleanAll(texts)
    case one => cleaner.clean(one.asInstanceOf[UTF8String])
  }

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val reference = ctx.addReferenceObj("cleaner", cleaner)
    val value = text.genCode(ctx)
    val clean = if (isArray) "cleanAll" else "clean"
    val argument = if (text.dataType == NullType) "null" else value.value
    val kind = CodeGenerator.javaType(dataType)
    ev.copy(code = code"""
      ${value.code}
      $kind ${ev.value} = ${value.isNull} ? null : $reference.$clean($argument);
      boolean ${ev.isNull} = ${ev.value} == null;""")
  }

  override protected def withNewChildrenInternal(
      newFirst: Expression, newSecond: Expression, newThird: Expression): CtrClean =
    copy(newFirst, newSecond, newThird)
}

object CtrClean {
  final val Name = "ctr_clean"

  private val Texts = Seq(StringType, ArrayType(StringType))

  val function: SqlFunction = SqlFunction(
    classOf[CtrClean],
    Name,
    "string_funcs",
    "3 (text, spaces, missing)",
    "_FUNC_(text, spaces, missing) - Returns the text with runs of white space folded into one " +
      "space and none at its ends; NULL for a placeholder. Of an array, the clean texts of the " +
      "elements that have one; NULL if none has.",
    """
    Arguments:
      * text - a STRING, or an ARRAY of STRING.
      * spaces - a STRING constant: a regular expression that matches the characters of white space.
      * missing - an ARRAY<STRING> constant: clean texts that mean that there is none. They are
          compared byte by byte.
  """,
    """
    Examples:
      > SELECT _FUNC_('  a \t b ', '\\s', array('', '?'));
       a b
      > SELECT _FUNC_(array('a', ' ? ', NULL), '\\s', array('', '?'));
       [a]
  """) {
    case Seq(text, spaces, missing) => CtrClean(text, spaces, missing)
  }
}
