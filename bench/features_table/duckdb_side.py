"""The same table in DuckDB: events to a gapless region-by-day table with fills, lags, rolling and spatial features.

python bench/features_table/duckdb_side.py EVENTS OUT
"""

from __future__ import annotations

import json
import resource
import sys
import time

import duckdb

QUERY = """
with daily as (
  select region, date,
    count(distinct order_id) filter (event_type = 'order') as orders, count(distinct user_id) as users,
    count(*) filter (event_type = 'view') as views,
    round(coalesce(sum(quantity) filter (event_type in ('order', 'return')), 0), 6) as units,
    round(coalesce(sum(amount) filter (event_type in ('order', 'return')), 0), 6) as target,
    round(sum(amount) filter (event_type = 'order') / sum(quantity) filter (event_type = 'order'), 6) as price
  from read_parquet('{events}/*.parquet') group by region, date),
spans as (select region, min(date) as first, (select max(date) from daily) as last from daily group by region),
grid as (select region, unnest(generate_series(first, last, interval 1 day))::date as date from spans),
days as (
  select grid.region, grid.date, case when isodow(grid.date) = 7 and d.target is null then 'closed' else 'observed' end
      as status, case when isodow(grid.date) = 7 then d.target else coalesce(d.target, 0) end as target,
    coalesce(orders, 0) as orders, coalesce(users, 0) as users, coalesce(views, 0) as views, units, price
  from grid left join daily d using (region, date)),
clean as (
  select *, coalesce(target, last_value(target ignore nulls) over (partition by region, isodow(date) order by date
    rows between unbounded preceding and 1 preceding), 0) as target_clean from days),
own as (
  select *, lag(target_clean, 1) over w as lag_1, lag(target_clean, 7) over w as lag_7,
    lag(target_clean, 14) over w as lag_14, lag(target_clean, 364) over w as lag_364,
    avg(target_clean) over (w rows between 7 preceding and 1 preceding) as mean_7,
    avg(target_clean) over (w rows between 28 preceding and 1 preceding) as mean_28,
    stddev_samp(target_clean) over (w rows between 28 preceding and 1 preceding) as sd_28,
    min(target_clean) over (w rows between 28 preceding and 1 preceding) as min_28,
    max(target_clean) over (w rows between 28 preceding and 1 preceding) as max_28,
    avg((target = 0)::int) over (w rows between 28 preceding and 1 preceding) as zero_share_28,
    avg(users) over (w rows between 7 preceding and 1 preceding) as users_mean_7,
    sum(orders) over (w rows between 28 preceding and 1 preceding)
      / nullif(sum(views) over (w rows between 28 preceding and 1 preceding), 0) as conversion_28,
    avg(price) over (w rows between 7 preceding and 1 preceding)
      / avg(price) over (w rows between 91 preceding and 1 preceding) as price_index
  from clean window w as (partition by region order by date)),
edges as (
  select a.region, b.region as neighbour from (select distinct region from own) a join (select distinct region from own)
    b on b.region <> a.region and abs(substr(a.region, 2)::int - substr(b.region, 2)::int) <= 2)
select own.*, s.spatial_lag_1, s.spatial_mean_7 from own left join (
  select e.region, o.date, avg(o.lag_1) as spatial_lag_1, avg(o.mean_7) as spatial_mean_7
  from edges e join own o on o.region = e.neighbour group by e.region, o.date) s using (region, date)
"""


def main(events: str, out: str) -> None:
    connection = duckdb.connect()
    connection.execute("set threads = 2; set memory_limit = '2GB'")
    begun = time.monotonic()
    connection.execute(f"copy ({QUERY.format(events=events)}) to '{out}' (format parquet)")
    seconds = time.monotonic() - begun
    rows = connection.execute(f"select count(*), sum(target) from '{out}'").fetchone()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "rows": rows[0], "target": rows[1], "peak_mib": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
