package sparkctr

import org.apache.spark.sql.AnalysisException

/** What SQL says about each function. */
class SqlFunctionSuite extends SparkSuite {

  /** Queries of a function's documentation, each with the rows that it shows. */
  private def examples(function: SqlFunction): Seq[(String, Seq[String])] = {
    val text = function.examples.split("\n").map(_.trim).filter(_.nonEmpty).tail.mkString("\n")
    text.split("> ").toSeq.filter(_.nonEmpty).map { example =>
      val Array(query, rows) = example.split(";\n", 2)
      (query.replace("_FUNC_", function.name), rows.split("\n").map(_.trim).toSeq)
    }
  }

  for (function <- SparkCtrExtensions.functions) {
    test(s"${function.name}: its examples hold") {
      examples(function) should not be empty
      for ((query, rows) <- examples(function)) {
        val found = spark.sql(query).collect().toSeq.map(_.toSeq.map {
          case list: scala.collection.Seq[_] => list.mkString("[", ",", "]")
          case other => String.valueOf(other)
        }.mkString("\t"))
        found.sorted shouldBe rows.sorted
      }
    }

    test(s"${function.name}: the catalog lists it and a wrong number of arguments is explained") {
      spark.catalog.functionExists(function.name) shouldBe true
      val message = intercept[AnalysisException](spark.sql(s"SELECT ${function.name}()")).getMessage
      message should include("WRONG_NUM_ARGS")
      message should include(function.signature)
    }
  }
}
