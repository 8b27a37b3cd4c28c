package sparkctr

import java.util.HashSet

import org.apache.spark.sql.catalyst.util.{ArrayData, GenericArrayData}
import org.apache.spark.unsafe.Platform
import org.apache.spark.unsafe.types.UTF8String

/**
 * Cleans texts: runs of white space become one space, the ends are trimmed, and placeholders become
 * null. A text that is clean comes back as it is.
 *
 * @param spaces what counts as white space, as `WhiteSpace` has it
 * @param missing clean texts that stand for none
 */
private[sparkctr] final class TextCleaner(spaces: String, missing: Array[UTF8String])
    extends Serializable {
  import Utf8._

  @transient private val isSpace = WhiteSpace.matching(spaces)
  @transient private val visibleIsClean = {
    val first = isSpace.nextSetBit(FirstVisible)
    first < 0 || first > LastVisible
  }

  // By length in bytes, so that few texts are hashed.
  @transient private val placeholders: Array[HashSet[UTF8String]] = {
    val longest = missing.map(_.numBytes).foldLeft(-1)(math.max)
    Array.tabulate(longest + 1) { n =>
      val group = new HashSet[UTF8String]
      missing.filter(_.numBytes == n).foreach(text => group.add(text))
      group
    }
  }

  // A task gets what the tables are made from.
  private def readResolve(): AnyRef = new TextCleaner(spaces, missing)

  /** The clean text; null for null and for a placeholder. */
  def clean(text: UTF8String): UTF8String =
    if (text == null) {
      null
    } else {
      val cleaned = trimmed(folded(text))
      if (isPlaceholder(cleaned)) null else cleaned
    }

  /** The clean texts of those elements that have one; null if none has. */
  def cleanAll(texts: ArrayData): ArrayData =
    if (texts == null) {
      null
    } else {
      val n = texts.numElements()
      val kept = new Array[Any](n)
      var size = 0
      var same = true
      var i = 0
      while (i < n) {
        val text = if (texts.isNullAt(i)) null else texts.getUTF8String(i)
        val cleaned = clean(text)
        if (cleaned == null) {
          same = false
        } else {
          same &= cleaned eq text
          kept(size) = cleaned
          size += 1
        }
        i += 1
      }
      if (size == 0) null
      else if (same) texts
      else new GenericArrayData(if (size == n) kept else kept.take(size))
    }

  private def isPlaceholder(text: UTF8String): Boolean = {
    val n = text.numBytes
    n < placeholders.length && !placeholders(n).isEmpty && placeholders(n).contains(text)
  }

  private def trimmed(text: UTF8String): UTF8String = {
    val start = text.getBaseOffset
    val n = text.numBytes
    def isBlank(i: Int) = Platform.getByte(text.getBaseObject, start + i) == ' '
    if (n > 0 && (isBlank(0) || isBlank(n - 1))) text.trim() else text
  }

  private def folded(text: UTF8String): UTF8String = {
    val base = text.getBaseObject
    val start = text.getBaseOffset
    val n = text.numBytes
    var i = if (visibleIsClean) visible(base, start, n) else 0
    var afterSpace = false
    while (i < n) {
      val c = codePoint(base, start + i, n - i)
      if (c < 0) return folded(repaired(text))
      val space = isSpace.get(c)
      if (space && (afterSpace || c != ' ')) return folded(text, i, afterSpace)
      afterSpace = space
      i += width(c)
    }
    text
  }

  /** The folded text, if up to byte `from` it is folded as it is. */
  private def folded(text: UTF8String, from: Int, spaceBefore: Boolean): UTF8String = {
    val base = text.getBaseObject
    val start = text.getBaseOffset
    val n = text.numBytes
    val out = new Array[Byte](n)
    Platform.copyMemory(base, start, out, Platform.BYTE_ARRAY_OFFSET, from)
    var i = from
    var size = from
    var afterSpace = spaceBefore
    while (i < n) {
      val c = codePoint(base, start + i, n - i)
      if (c < 0) return folded(repaired(text))
      val space = isSpace.get(c)
      if (!space) {
        Platform.copyMemory(base, start + i, out, Platform.BYTE_ARRAY_OFFSET + size, width(c))
        size += width(c)
      } else if (!afterSpace) {
        out(size) = ' '
        size += 1
      }
      afterSpace = space
      i += width(c)
    }
    UTF8String.fromBytes(out, 0, size)
  }
}
