package sparkctr

import scala.collection.mutable

import org.apache.spark.sql.functions.col

/** `ctr_value_counts` and `ctr_merge_counts` against a groupBy, and the tables below them. */
class CtrValueCountsSuite extends SparkSuite {

  private def merged(partial: String) =
    spark.sql(partial).repartition(col("part"))
      .sortWithinPartitions("part").selectExpr("ctr_merge_counts(part, block)")

  // More different values than a task holds at a time, so that it gives out its tables midway.
  test("equals a groupBy, over several tasks and over a task's limit") {
    spark.range(0, 1300000, 1, 2).selectExpr(
      "IF(id % 5 = 0, NULL, CAST(id % 2 AS DOUBLE)) AS y",
      "CAST(id / 100000 AS INT) AS s",
      "IF(id % 7 = 0, NULL, xxhash64(id % 900000)) AS a",
      "xxhash64(id % 3) AS b").createOrReplaceTempView("log")
    merged("SELECT ctr_value_counts(y, s, a, b) FROM log").createOrReplaceTempView("counted")
    val wanted = Seq("a", "b").zipWithIndex.map { case (name, i) =>
      s"SELECT $i AS column, $name AS hash, count(*) AS rows, count(y) AS labelled, " +
        s"count(IF(y = 1D, 1, NULL)) AS positives, min(s) AS slice FROM log GROUP BY $name"
    }.mkString(" UNION ALL ")
    spark.sql(s"(SELECT * FROM counted) EXCEPT ALL ($wanted)").count() shouldBe 0
    spark.sql(s"($wanted) EXCEPT ALL (SELECT * FROM counted)").count() shouldBe 0
  }

  test("the histogram is a groupBy of the counts") {
    val blocks = "SELECT ctr_value_counts(1D, CAST(id % 3 AS INT), id % 50, NULL) FROM range(990)"
    merged(blocks).createOrReplaceTempView("counted")
    spark.sql(blocks).repartition(col("part")).sortWithinPartitions("part")
      .selectExpr("ctr_count_histogram(part, block)").createOrReplaceTempView("kinds")
    val sums = "SELECT column, missing, rows, labelled, positives, slice, sum(values) " +
      "FROM kinds GROUP BY ALL"
    val wanted = "SELECT column, hash IS NULL, rows, labelled, positives, slice, count(*) " +
      "FROM counted GROUP BY column, hash IS NULL, rows, labelled, positives, slice"
    spark.sql(s"($sums) EXCEPT ALL ($wanted)").count() shouldBe 0
    spark.sql(s"($wanted) EXCEPT ALL ($sums)").count() shouldBe 0
  }

  test("no rows give no counts") {
    merged("SELECT ctr_value_counts(1D, 0, id) FROM range(0)").collect() shouldBe empty
  }

  test("blocks of a part that do not come together are an error, not a wrong count") {
    val twice = spark.sql(
      "SELECT explode(array(3, 5, 3)) AS part, X'' AS block").coalesce(1)
    val error = intercept[Exception](twice.selectExpr("ctr_merge_counts(part, block)").collect())
    Iterator.iterate[Throwable](error)(_.getCause).takeWhile(_ != null)
      .map(_.getMessage).mkString should include("sort within partitions by part")
  }

  test("a table counts the hash 0, grows, and can be used again") {
    val table = new CountTable
    val wanted = mutable.Map.empty[Long, (Long, Long, Long, Long)]
    val random = new scala.util.Random(1)
    for (round <- 0 until 2) {
      wanted.clear()
      for (_ <- 0 until 20000) {
        val hash = random.nextInt(3000).toLong - 1000
        val slice = random.nextInt(10).toLong
        table.add(hash, 1, slice % 2, slice % 3 / 2, slice)
        val (n, l, p, s) = wanted.getOrElse(hash, (0L, 0L, 0L, Long.MaxValue))
        wanted(hash) = (n + 1, l + slice % 2, p + slice % 3 / 2, math.min(s, slice))
      }
      table.size shouldBe wanted.size
      table.iterator((w, at) => w(at) -> ((w(at + 1), w(at + 2), w(at + 3), w(at + 4)))).toMap
        .shouldBe(wanted.toMap)
      table.clear()
      table.iterator((_, _) => 0).toSeq shouldBe empty
    }
  }

  test("blocks carry everything, nulls apart") {
    val counts = new ColumnCounts(3)
    for (i <- 0 until 5000) counts.ofValues(i % 3).add(i * 0x9E3779B97F4A7C15L, 1, 1, i % 2, i)
    counts.ofNulls(1).add(0L, 7, 6, 5, 4)
    val back = new ColumnCounts
    counts.blocks().foreach { case (_, block) => back.add(block) }
    def rows(c: ColumnCounts): Set[Seq[Any]] =
      c.entries().map { r =>
        val hash = if (r.isNullAt(1)) null else r.getLong(1)
        Seq(r.getInt(0), hash, r.getLong(2), r.getLong(3), r.getLong(4), r.getInt(5))
      }.toSet
    rows(back) shouldBe rows(counts)
    rows(back) should have size 5001
  }
}
