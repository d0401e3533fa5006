from vla_ros.evaluation.paper import paper_table

# VLM4VLA, arXiv 2601.03309, headline table
QWEN3_2B = {("calvin", "scene_d"): 4.142, ("simpler", "bridge"): 49.0, ("libero", "libero_10"): 55.8}
EXPERTS = {("calvin", "scene_d"): 2, ("simpler", "bridge"): 3, ("libero", "libero_10"): 3}


def test_each_benchmark_has_the_papers_nine_backbones_and_its_experts() -> None:
    for (simulator, suite), value in QWEN3_2B.items():
        table = paper_table(simulator, suite)
        assert table is not None
        assert dict(table.rows)["Qwen3-VL-2B"] == value
        assert len(table.rows) == 9 + EXPERTS[simulator, suite]


def test_a_suite_that_the_paper_does_not_have_has_no_rows() -> None:
    assert paper_table("libero", "libero_object") is None
