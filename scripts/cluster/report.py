"""What the user reads at the end."""

import pandas as pd
from comparison import RELATIVE, TableComparison
from imports import Imports
from pipeline_run import STEPS, PipelineRun
from place import Place


def describe(
    place: Place, ours: PipelineRun, local: PipelineRun, imports: Imports, tables: list[TableComparison]
) -> str:
    """Return the whole comparison as text: where the package came from, table by table, seconds, verdict."""
    lines = [f"run {ours.run_id} on two workers, compared with the local run in {local.tables.parent}", ""]
    lines += _origins(imports)
    lines += ["", f"  {'table':<11}{'rows':>8}{'values':>9}   {'largest difference':<22}equal"]
    lines += [_row(table) for table in tables]
    lines += ["", f"  {'seconds':<11}" + "".join(f"{step:>10}" for step in (*STEPS, "in all"))]
    lines += [_seconds("cluster", ours), _seconds("local", local), ""]
    problems = [line for table in tables for line in table.differences] + list(imports.foreign)
    problems += ours.global_failures() + _unsound(imports)
    if problems:
        return "\n".join([*lines, "NOT EQUAL OR NOT PROVED:", *(f"  {line}" for line in problems[:20])])
    exact = all(table.largest == 0 for table in tables)
    how = "to the last bit" if exact else f"within {RELATIVE:g} relative"
    verdict = f"equal: the cluster's numbers are the local run's, {how}; logs and tables: {place.home}"
    return "\n".join([*lines, verdict])


def _origins(imports: Imports) -> list[str]:
    workers = ", ".join(f"{count} on executor {executor}" for executor, count in imports.workers.items())
    ranks = ", ".join(f"{rank} on executor {executor}" for rank, executor in imports.ranks.items())
    judged = "the shipped wheel, byte for byte" if not imports.foreign else "NOT only the shipped wheel"
    return [
        f"  stspark came from {judged}:",
        f"    driver           {imports.driver} process",
        f"    Python workers   {workers or 'none'}",
        f"    training ranks   {ranks or 'none (this config has no global model)'}",
    ]


def _unsound(imports: Imports) -> list[str]:
    if imports.spread:
        return []
    return [f"the work was not spread over both workers: {imports.workers}, ranks {imports.ranks} of {imports.world}"]


def _row(table: TableComparison) -> str:
    gap = f"{table.largest:.3g} ({table.largest_relative:.1e})" if table.largest else "0 (exact)"
    verdict = "yes" if table.equal else f"NO: {table.differing} values differ, {table.missing} rows or columns missing"
    return f"  {table.table:<11}{table.rows:>8,}{table.values:>9,}   {gap:<22}{verdict}"


def _seconds(name: str, run: PipelineRun) -> str:
    seconds = pd.Series([run.row[f"seconds_{step}"] for step in STEPS], dtype=float).fillna(0.0)
    return f"  {name:<11}" + "".join(f"{value:>10.0f}" for value in (*seconds, seconds.sum()))
