package sparkctr

import org.apache.spark.unsafe.Platform
import org.apache.spark.unsafe.types.UTF8String

/** Reads UTF-8 in memory; what is valid is what Java's decoder takes. */
private[sparkctr] object Utf8 {
  // Of the ASCII characters that are seen when printed.
  final val FirstVisible = 0x21
  final val LastVisible = 0x7E

  /** Number of leading bytes known to be visible ASCII: all `n`, or a multiple of eight. */
  def visible(base: AnyRef, start: Long, n: Int): Int = {
    var i = 0
    while (i + 8 <= n) {
      if (!allVisible(Platform.getLong(base, start + i))) return i
      i += 8
    }
    // The last eight bytes, some of them again.
    if (i > 0 && i < n && allVisible(Platform.getLong(base, start + n - 8))) n else i
  }

  private def allVisible(eight: Long): Boolean = {
    val below = (eight - 0x2121212121212121L) & ~eight
    val delete = eight + 0x0101010101010101L
    ((eight | below | delete) & 0x8080808080808080L) == 0L
  }

  /** The code point that starts at an address with `left` bytes to the end; -1 for invalid bytes. */
  def codePoint(base: AnyRef, at: Long, left: Int): Int = {
    val first = Platform.getByte(base, at)
    if (first >= 0) return first
    val bytes = Integer.numberOfLeadingZeros(~(first << 24))
    if (bytes < 2 || bytes > 4 || bytes > left) return -1
    var c = first & (0x7F >> bytes)
    var i = 1
    while (i < bytes) {
      val next = Platform.getByte(base, at + i)
      if ((next & 0xC0) != 0x80) return -1
      c = (c << 6) | (next & 0x3F)
      i += 1
    }
    val surrogate = c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE
    if (width(c) != bytes || surrogate || c > Character.MAX_CODE_POINT) -1 else c
  }

  /** Bytes of a code point. */
  def width(c: Int): Int = if (c < 0x80) 1 else if (c < 0x800) 2 else if (c < 0x10000) 3 else 4

  /** The text with U+FFFD for invalid bytes, as Spark's regular expressions read it. */
  def repaired(text: UTF8String): UTF8String = UTF8String.fromString(text.toString)
}
