"""Calls side by side: results in order, errors after all have ended, the caller's properties."""

import time

import pytest

from stspark.at_once import at_once


def test_results_come_in_the_order_of_the_calls(spark):
    assert at_once(spark, lambda: time.sleep(0.1) or spark.range(3).count(), lambda: "second") == [3, "second"]


def test_an_error_is_raised_as_it_is_once_all_have_ended(spark):
    ended = []

    def fail() -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        at_once(spark, fail, lambda: time.sleep(0.2) or ended.append("the other"))
    assert ended == ["the other"]


def test_a_second_error_is_logged(spark, caplog):
    def fail(what: str) -> None:
        raise ValueError(what)

    with pytest.raises(ValueError, match="the first"):
        at_once(spark, lambda: fail("the first"), lambda: fail("the second"))
    assert "failed too: the second" in caplog.text


def test_a_call_has_the_callers_spark_properties(spark):
    spark.sparkContext.setLocalProperty("stspark.test", "mine")
    try:
        assert at_once(spark, lambda: spark.sparkContext.getLocalProperty("stspark.test")) == ["mine"]
    finally:
        spark.sparkContext.setLocalProperty("stspark.test", None)
