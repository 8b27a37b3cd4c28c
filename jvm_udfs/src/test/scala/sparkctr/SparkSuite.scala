package sparkctr

import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.apache.spark.sql.types._
import org.scalatest.BeforeAndAfterAll
import org.scalatest.funsuite.AnyFunSuite
import org.scalatest.matchers.should.Matchers

/** A suite with a session, which must find the functions through META-INF/services. */
trait SparkSuite extends AnyFunSuite with Matchers with BeforeAndAfterAll {

  protected var spark: SparkSession = _

  // No extension is configured.
  override def beforeAll(): Unit =
    spark = SparkSession.builder().master("local[2]")
      .config("spark.ui.enabled", "false")
      .config("spark.sql.shuffle.partitions", "3")
      .getOrCreate()

  override def afterAll(): Unit = spark.stop()

  /** From an RDD, so that the optimizer cannot evaluate the projection by itself. */
  protected def column[T](values: Seq[T], sqlType: DataType): DataFrame = {
    val rows = spark.sparkContext.parallelize(values.map(Row(_)), 1)
    spark.createDataFrame(rows, new StructType().add("v", sqlType))
  }

  protected def withConf[T](settings: (String, String)*)(body: => T): T = {
    settings.foreach { case (k, v) => spark.conf.set(k, v) }
    try body finally settings.foreach { case (k, _) => spark.conf.unset(k) }
  }

  protected def generated[T](body: => T): T =
    withConf("spark.sql.codegen.factoryMode" -> "CODEGEN_ONLY")(body)

  protected def interpreted[T](body: => T): T = withConf(
    "spark.sql.codegen.factoryMode" -> "NO_CODEGEN",
    "spark.sql.codegen.wholeStage" -> "false")(body)
}
