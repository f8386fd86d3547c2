"""Scores of test volumes by skeletons of their truth."""


rule make_skeletons:
    """Import skeletons of the truth, or thin its objects to their midlines."""
    input:
        unpack(skeleton_files),
        raw="<results>/{volume}/raw.zarr",
    output:
        skeletons="<results>/{volume}/skeletons.graphml",
    log:
        "<logs>/make_skeletons/{volume}.log",
    benchmark:
        "<benchmarks>/make_skeletons/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.skeletonising"),
        skeletons=skeleton_settings,
    script:
        "../scripts/make_skeletons.py"


rule score_skeletons:
    """Score every threshold by skeletons."""
    input:
        unpack(edits_files),
        fragments="<results>/{volume}/{track}/fragments.zarr",
        partitions=PARTITIONS,
        skeletons=rules.make_skeletons.output.skeletons,
    output:
        scores="<results>/{volume}/{track}/skeleton_scores.csv",
    log:
        "<logs>/score_skeletons/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/score_skeletons/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.skeleton_scoring"),
        thresholds=threshold_names(config["segment"]["thresholds"]),
        repulsion=REPULSION,
        minimum_nodes=config["evaluate"]["minimum_nodes"],
        edits_seconds=config["evaluate"]["edits_seconds"],
    script:
        "../scripts/score_skeletons.py"
