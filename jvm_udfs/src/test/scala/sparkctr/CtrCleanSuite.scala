package sparkctr

import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.catalyst.util.GenericArrayData
import org.apache.spark.sql.functions._
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/** `ctr_clean` against Spark's own functions, and what it does not copy. */
class CtrCleanSuite extends SparkSuite {

  private val spaces = """[\s\p{Z}\p{Cc}]+"""
  private val cleaner = new TextCleaner(spaces, Array("", "?", "N/A", "not set").map(utf8(_)))

  private def utf8(text: String) = UTF8String.fromString(text)

  private def call(column: String) =
    expr(s"""ctr_clean($column, r'$spaces', array('', '?', 'N/A', 'not set'))""")

  private val texts = Seq(
    "a", " a", "a ", "  a  b  ", "a b", "\ta\u00A0b", "\u3000", "", " ", "?", " ? ", "N/A",
    "not\n \u2028set", "n/a", "a\u0000b", "a\u007Fb", "é", "日本 語", "😀\u0085😀", "\uFEFF",
    "a long text of eight bytes and more", "a long text\u00A0of eight bytes", "eight888", "eight88 ",
    null)

  test("texts are cleaned as regexp_replace and trim would, by generated and interpreted code") {
    val data = column(texts, StringType)
    val folded = trim(regexp_replace(col("v"), spaces, " "))
    val expected = when(!folded.isin("", "?", "N/A", "not set"), folded)
    def rows = data.select(call("v"), expected).collect()
    for (found <- Seq(generated(rows), interpreted(rows)); row <- found) row(0) shouldBe row(1)
    generated(rows).count(_.isNullAt(0)) shouldBe 8
  }

  test("of an array the clean elements are left, by generated and interpreted code") {
    val data = column(
      Seq(Seq(" a", null, "?", "b"), Seq("a", "b"), Seq("?", null), Seq.empty, null),
      ArrayType(StringType))
    def rows = data.select(call("v")).collect().toSeq.map(r => Option(r.getSeq[String](0)))
    val expected = Seq(Some(Seq("a", "b")), Some(Seq("a", "b")), None, None, None)
    generated(rows) shouldBe expected
    interpreted(rows) shouldBe expected
  }

  test("what is clean comes back as it is") {
    for (text <- Seq("a", "eight888 a", "日本 語", "a long text of eight bytes and more")) {
      val one = utf8(text)
      cleaner.clean(one) should be theSameInstanceAs one
    }
    val several = new GenericArrayData(Array[Any](utf8("a"), utf8("b")))
    cleaner.cleanAll(several) should be theSameInstanceAs several
  }

  test("bytes that are no UTF-8 are read as Java reads them") {
    val random = new scala.util.Random(7)
    for (_ <- 1 to 20000) {
      val bytes = Array.fill(1 + random.nextInt(12))(
        Seq(0x20, 0x61, 0x80, 0x9F, 0xA0, 0xC1, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF8, 0xFF)
          .apply(random.nextInt(14)).toByte)
      val text = UTF8String.fromBytes(bytes)
      val expected = utf8(text.toString.replaceAll(spaces, " ")).trim()
      val found = cleaner.clean(text)
      if (expected.numBytes == 0) found shouldBe null else found shouldBe expected
    }
  }

  test("white space is what the expression says, and so are placeholders") {
    val own = new TextCleaner("[_ ]", Array(utf8("x y")))
    own.clean(utf8("__x_ _y_")) shouldBe null
    own.clean(utf8("x__z ")) shouldBe utf8("x z")
    own.clean(utf8("x\tz_long_text")) shouldBe utf8("x\tz long text")
    own.clean(utf8("")) shouldBe utf8("")
    new TextCleaner("_", Array.empty[UTF8String]).clean(utf8(" a  b ")) shouldBe utf8("a  b")
  }

  test("a serialised cleaner cleans") {
    val bytes = new java.io.ByteArrayOutputStream
    new java.io.ObjectOutputStream(bytes).writeObject(cleaner)
    val back = new java.io.ObjectInputStream(new java.io.ByteArrayInputStream(bytes.toByteArray))
      .readObject().asInstanceOf[TextCleaner]
    back.clean(utf8(" not  set")) shouldBe null
    back.clean(utf8("a\tb")) shouldBe utf8("a b")
  }

  test("wrong calls name the argument") {
    for ((arguments, parts) <- Seq(
        "1, 'x', array('')" -> Seq("UNEXPECTED_INPUT_TYPE", "`text`"),
        "'a', '[', array('')" -> Seq("VALUE_OUT_OF_RANGE", "`spaces`"),
        "'a', NULL, array('')" -> Seq("UNEXPECTED_NULL", "`spaces`"),
        "'a', 'x', array(1)" -> Seq("UNEXPECTED_INPUT_TYPE", "`missing`"),
        "'a', 'x', array(string(id))" -> Seq("NON_FOLDABLE_INPUT", "`missing`"))) {
      val query = s"SELECT ctr_clean($arguments) FROM range(1)"
      val message = intercept[AnalysisException](spark.sql(query)).getMessage
      for (part <- parts) message should include(part)
    }
    spark.sql("SELECT ctr_clean(NULL, 'x', array()) FROM range(1)").head().isNullAt(0) shouldBe true
  }
}
