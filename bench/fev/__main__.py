"""The whole table of a task in fev-bench's protocol, published figures beside ours.

python -m bench.fev [--config bench/fev/rohlik_orders_1D.yaml]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.fev.metrics import Losses
from bench.fev.panel import read_panel
from bench.fev.run import Result, run_models, run_naive
from bench.fev.task import Task, read_task
from stspark.errors import UserError

RESULTS = Path("bench/results")


def table(task: Task, results: list[Result]) -> list[str]:
    """Markdown rows, best SQL first; what others published is marked as such."""
    ours = [(r.model, r.mean, " ".join(f"{w.sql:.3f}" for w in r.windows), f"here, {r.seconds:.0f} s") for r in results]
    theirs = [
        (p.model, Losses(p.sql, p.mase, p.wape), "", ", ".join(filter(None, ("published", p.note))))
        for p in task.published
    ]
    rows = sorted([*ours, *theirs], key=lambda row: row[1].sql)
    head = ["| model | SQL | MASE | WAPE | SQL by window | source |", "|---|---|---|---|---|---|"]
    return head + [f"| {m} | {x.sql:.3f} | {x.mase:.3f} | {x.wape:.4f} | {w} | {s} |" for m, x, w, s in rows]


def main() -> int:
    """Run the task, print its table and its line, keep both as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="bench/fev/rohlik_orders_1D.yaml")
    try:
        task = read_task(parser.parse_args().config)
        panel = read_panel(task)
        naive = run_naive(task, panel)
        models = run_models(task, panel)
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    print("\n".join(table(task, [naive, *models])))
    ours = models[0] if models else naive
    figures = f"SQL={ours.mean.sql:.4f} MASE={ours.mean.mase:.4f} WAPE={ours.mean.wape:.5f}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = {"task": task.model_dump(mode="json"), "results": [r.to_dict() for r in (naive, *models)]}
    (RESULTS / f"fev_{task.name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"\nfev {task.name} {figures} naive_MASE={naive.mean.mase:.6f} naive_WAPE={naive.mean.wape:.7f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
