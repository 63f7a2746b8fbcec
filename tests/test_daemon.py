"""A worker that Spark lets go says nothing; what else its daemon meets is printed."""

from __future__ import annotations

import pytest

from stspark.daemon import Quiet


@pytest.mark.parametrize(("error", "printed"), [(BrokenPipeError(32, "Broken pipe"), False), (ValueError("x"), True)])
def test_only_a_closed_socket_is_not_printed(capsys, error, printed):
    try:
        raise error
    except type(error):
        Quiet.print_exc()
    assert (type(error).__name__ in capsys.readouterr().err) == printed


def test_the_sessions_workers_are_its(spark):
    assert spark.sparkContext.getConf().get("spark.python.daemon.module") == "stspark.daemon"
    assert spark.range(4, numPartitions=2).mapInArrow(lambda batches: batches, "id long").count() == 4
