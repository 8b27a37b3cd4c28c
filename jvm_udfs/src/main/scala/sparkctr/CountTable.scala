package sparkctr

/**
 * Counts of values, keyed by their 64-bit hash: open addressing in one array of longs.
 *
 * An entry is `Width` words: hash, rows, labelled rows, positives, first slice. An entry without
 * rows is free.
 */
private[sparkctr] final class CountTable {
  import CountTable._

  private var words = new Array[Long](InitialSlots * Width)
  private var mask = InitialSlots - 1
  private var entries = 0

  def size: Int = entries

  def add(hash: Long, rows: Long, labelled: Long, positives: Long, slice: Long): Unit = {
    val table = words
    var at = slot(hash)
    // A slot of another value, or a free one, whose hash is 0, leads on.
    while (table(at) != hash && table(at + 1) != 0L) at = next(at)
    val before = table(at + 1)
    table(at + 1) = before + rows
    table(at + 2) += labelled
    table(at + 3) += positives
    if (before == 0L) {
      table(at) = hash
      table(at + 4) = slice
      entries += 1
      if (entries * 2 > mask) grow()
    } else if (slice < table(at + 4)) {
      table(at + 4) = slice
    }
  }

  /** Call `use` with the array and the position of each entry. */
  def foreach(use: (Array[Long], Int) => Unit): Unit = {
    val table = words
    var at = 0
    while (at < table.length) {
      if (table(at + 1) != 0L) use(table, at)
      at += Width
    }
  }

  /** What `use` makes of each entry, lazily; the table must be cleared before it is added to. */
  def iterator[T](use: (Array[Long], Int) => T): Iterator[T] =
    if (entries == 0) {
      Iterator.empty
    } else {
      val table = words
      Iterator.range(0, table.length, Width).filter(at => table(at + 1) != 0L).map(use(table, _))
    }

  /** Forget everything, in a new array: an iterator may still read the old one. */
  def clear(): Unit = {
    if (entries > 0) words = new Array[Long](InitialSlots * Width)
    mask = InitialSlots - 1
    entries = 0
  }

  private def slot(hash: Long): Int = ((hash ^ (hash >>> 32)).toInt & mask) * Width

  private def next(at: Int): Int = if (at + Width == words.length) 0 else at + Width

  private def grow(): Unit = {
    val old = words
    words = new Array[Long](old.length * 2)
    mask = mask * 2 + 1
    var from = 0
    while (from < old.length) {
      if (old(from + 1) != 0L) {
        var at = slot(old(from))
        while (words(at + 1) != 0L) at = next(at)
        System.arraycopy(old, from, words, at, Width)
      }
      from += Width
    }
  }
}

private[sparkctr] object CountTable {
  final val Width = 5
  private final val InitialSlots = 256
}
