"""The log that counting and encoding are measured on."""

import pyarrow.parquet as pq

from benchmarks.zipf_log import COLUMNS, FILES, LABEL, write_log


def test_rows_columns_and_falling_vocabularies(tmp_path):
    write_log(str(tmp_path), 20_003, seed=1)
    files = sorted(tmp_path.glob("*.parquet"))
    assert len(files) == FILES
    log = pq.read_table(tmp_path).to_pandas()
    assert len(log) == 20_003
    assert list(log.columns) == [*COLUMNS, LABEL]
    assert set(log[LABEL]) == {0, 1}
    distinct = [log[name].nunique() for name in COLUMNS]
    assert distinct == sorted(distinct, reverse=True) and distinct[0] > 10 * distinct[-1]
    write_log(str(tmp_path / "again"), 20_003, seed=1)
    again = pq.read_table(tmp_path / "again").to_pandas()
    assert log.equals(again)
