"""How to ask further: SQL, where the tables lie, and what the run is made of."""

from __future__ import annotations

from stspark.names import quantile_column
from stspark.report.data import RunFacts
from stspark.report.markup import Html, join, tag
from stspark.report.words import seconds


def query(facts: RunFacts) -> Html:
    """The cards of the section."""
    return join(
        [
            tag("div", *(_snippet(about, text) for about, text in _snippets(facts)), class_="card"),
            tag(
                "div",
                tag("div", tag("h3", "This run"), _pairs(_identity(facts)), class_="card"),
                tag("div", tag("h3", "Its tables"), _tables(facts), class_="card"),
                class_="two even",
            ),
        ]
    )


def _snippets(facts: RunFacts) -> list[tuple[str, str]]:
    name, outer = facts.dataset, [quantile_column(q) for q in (facts.quantiles[0], facts.quantiles[-1])]
    columns = ", ".join(dict.fromkeys(["region", "date", "y_hat", *outer]))
    latest = f"select {columns} from {name}.forecast_latest order by region, date limit 14"
    errors = (
        f"select model, metric, value from {name}.metrics "
        f"where run_id = '{facts.run_id}' and level = 'all' and horizon = 0"
    )
    make = f"CONFIG={facts.config or f'conf/{name}.yaml'}"
    return [
        ("The newest forecasts, as a table in the terminal:", f'make sql {make} QUERY="{latest}"'),
        ("The errors of this run:", f'make sql {make} QUERY="{errors}"'),
        ("A SQL prompt with every table:", f"make sql {make}"),
        (
            "Without Spark, in Python (pip install deltalake pandas):",
            f"from deltalake import DeltaTable\nforecasts = DeltaTable({facts.home + '/forecasts'!r})\n"
            f'forecasts.to_pandas(filters=[("run_id", "=", {facts.run_id!r})])',
        ),
        ("The same run again:", f'make run {make} ARGS="--as-of {facts.as_of:%Y-%m-%d}"'),
    ]


def _snippet(about: str, text: str) -> Html:
    return tag(
        "div",
        tag("p", about),
        tag("pre", tag("code", text), tag("button", "copy", type="button", class_="copy")),
        class_="snippet",
    )


def _identity(facts: RunFacts) -> dict[str, str]:
    spent = ", ".join(f"{step} {seconds(value)}" for step, value in facts.seconds.items())
    return {
        "run": facts.run_id,
        "as of": f"{facts.as_of:%Y-%m-%d}",
        "target": f"{facts.target}: {facts.measure}",
        **facts.identity,
        "time by step": spent or "not known",
        "MLflow": f"experiment {facts.dataset}, run {facts.run_id}",
        "MLflow store": facts.tracking,
    }


def _pairs(pairs: dict[str, str]) -> Html:
    return tag("dl", *(part for key, value in pairs.items() for part in (tag("dt", key), tag("dd", value))))


def _tables(facts: RunFacts) -> Html:
    """Where they are, and the Delta version that this run read or wrote."""
    rows = [
        tag("tr", tag("td", f"{facts.dataset}.{name}"), tag("td", str(version), class_="num"))
        for name, version in sorted(facts.versions.items())
    ]
    head = tag("tr", tag("th", "table"), tag("th", "Delta version", class_="num"))
    return join(
        [
            tag("p", "Delta tables in ", tag("code", facts.home)),
            tag("table", tag("thead", head), tag("tbody", *rows), class_="plain"),
        ]
    )
