package sparkctr

import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.catalyst.FunctionIdentifier
import org.apache.spark.sql.catalyst.expressions.{Expression, ExpressionInfo}

/**
 * A function as SQL knows it: what `DESCRIBE FUNCTION` shows, and how a call becomes an expression.
 *
 * @param signature the arguments' names, as an error about their number gives them
 * @param build the expression of a call, defined where the number of arguments is right
 */
private[sparkctr] final case class SqlFunction(
    expression: Class[_ <: Expression],
    name: String,
    group: String,
    signature: String,
    usage: String,
    arguments: String,
    examples: String)(build: PartialFunction[Seq[Expression], Expression]) {

  private def info = new ExpressionInfo(
    expression.getName,
    null, // no database: the function belongs to the session
    name,
    usage,
    arguments,
    examples,
    "", // no note
    group,
    "", // in all versions of spark_ctr
    "", // not deprecated
    "scala_udf")

  /** What SparkSessionExtensions.injectFunction takes. */
  def description: (FunctionIdentifier, ExpressionInfo, Seq[Expression] => Expression) =
    (FunctionIdentifier(name), info, arguments => build.applyOrElse(arguments, wrongNumber))

  private def wrongNumber(arguments: Seq[Expression]): Nothing =
    throw new AnalysisException(
      "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
      Map(
        "functionName" -> s"`$name`",
        "expectedNum" -> signature,
        "actualNum" -> arguments.length.toString,
        "docroot" -> "https://spark.apache.org/docs/latest"))
}
