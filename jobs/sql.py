"""A SQL prompt over a data set's tables, or the answer to one query.

spark-submit jobs/sql.py --config conf/DATASET.yaml [--query "select …"] [--set dotted.key=value …]

The query may come in STSPARK_QUERY.
"""

from __future__ import annotations

import sys

from stspark.prompt import run_sql

if __name__ == "__main__":
    sys.exit(run_sql())
