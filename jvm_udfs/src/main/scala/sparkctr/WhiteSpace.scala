package sparkctr

import java.util.BitSet
import java.util.concurrent.ConcurrentHashMap
import java.util.regex.Pattern

/** Which characters a regular expression matches, such as `[\s\p{Z}\p{Cc}]+`. */
private[sparkctr] object WhiteSpace {
  private val known = new ConcurrentHashMap[String, BitSet]

  /** The code points that it matches; throws PatternSyntaxException. */
  def matching(pattern: String): BitSet = known.computeIfAbsent(pattern, find(_))

  private def find(pattern: String): BitSet = {
    val every = new java.lang.StringBuilder
    for (c <- 0 to Character.MAX_CODE_POINT) {
      // No UTF-8 has a surrogate.
      if (c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE) every.appendCodePoint(c)
    }
    val found = Pattern.compile(pattern).matcher(every)
    val points = new BitSet
    while (found.find()) found.group.codePoints.forEach(points.set(_))
    points
  }
}
