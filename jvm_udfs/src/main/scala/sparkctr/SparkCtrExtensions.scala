package sparkctr

import org.apache.spark.sql.{SparkSessionExtensions, SparkSessionExtensionsProvider}

/**
 * Registers the functions of this jar in every session of a Spark that has the jar on its class
 * path. Spark finds this class through META-INF/services, so no configuration names it.
 */
class SparkCtrExtensions extends SparkSessionExtensionsProvider {
  override def apply(extensions: SparkSessionExtensions): Unit =
    SparkCtrExtensions.functions.foreach(f => extensions.injectFunction(f.description))
}

object SparkCtrExtensions {
  private[sparkctr] val functions: Seq[SqlFunction] = Seq(
    CtrClean.function,
    CtrCountHistogram.function,
    CtrCut.function,
    CtrMergeCounts.function,
    CtrPack.function,
    CtrRows.function,
    CtrValueCounts.function,
    CtrVector.function)
}
