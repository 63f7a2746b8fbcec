def test_x(small_run):
    print(small_run.ran.out); print(small_run.ran.err); print(small_run.arguments)
    assert small_run.ran.code == 0
