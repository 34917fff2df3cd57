#!/usr/bin/env python3
"""Writes tests/fixtures/reviews.parquet, rows as Hugging Face's `datasets` keeps them.

    pip install pyarrow && python scripts/make_parquet.py tests/fixtures/reviews.parquet
"""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

words = ["a fine film", "a dull affair"]
rows = range(20)
table = pa.table({
    "sentence": [f"{words[i % 2]} number {i}" for i in rows],
    "label": pa.array([1 - i % 2 for i in rows], pa.int64()),
    "stars": pa.array([4.5 - 3 * (i % 2) for i in rows], pa.float32()),
    "topics": pa.array([[i % 2] if i % 4 else [0, 1] for i in rows], pa.list_(pa.int64())),
    "idx": pa.array(rows, pa.int32()),
})
features = {
    "label": {"names": ["negative", "positive"], "_type": "ClassLabel"},
    "topics": {"feature": {"names": ["plot", "cast"], "_type": "ClassLabel"}, "_type": "Sequence"},
}
note = json.dumps({"info": {"features": features}})
pq.write_table(table.replace_schema_metadata({"huggingface": note}), sys.argv[1])
