"""Scores of every threshold, from one table of overlaps, and what is wrong where."""


rule count_overlaps:
    """Count the voxels that every fragment shares with every object of the reference, block by block."""
    input:
        unpack(reference_files),
        fragments="<results>/{volume}/{track}/fragments.zarr",
        parts=parts("<results>/{volume}/{track}/overlaps.parquet"),
    output:
        overlaps="<results>/{volume}/{track}/overlaps.parquet",
    log:
        "<logs>/count_overlaps/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/count_overlaps/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.evaluating"),
        border=border_of,
        reach=config["evaluate"]["reach"],
        per_section=scored_per_section,
        block=config["segment"]["block"],
    script:
        "../scripts/count_overlaps.py"


use rule count_overlaps as count_overlaps_part with:
    input:
        unpack(reference_files),
        fragments="<results>/{volume}/{track}/fragments.zarr",
    output:
        temp("<results>/{volume}/{track}/overlaps.parquet.parts/{part}.json"),
    log:
        "<logs>/count_overlaps/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/count_overlaps/{volume}.{track}.{part}.tsv"


rule score:
    """Score every threshold."""
    input:
        overlaps=rules.count_overlaps.output.overlaps,
        partitions=PARTITIONS,
    output:
        scores=report(
            "<results>/{volume}/{track}/scores.csv",
            category="Scores",
            labels={"volume": "{volume}", "track": "{track}"},
            caption="../report/scores.rst",
        ),
    log:
        "<logs>/score/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/score/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.evaluating"),
        thresholds=threshold_names(config["segment"]["thresholds"]),
        repulsion=REPULSION,
    script:
        "../scripts/score.py"


checkpoint choose_threshold:
    """Choose a track's threshold by annotation, or by disagreement; no test truth is looked at."""
    input:
        scores=expand("<results>/{volume}/{{track}}/scores.csv", volume=ANNOTATED),
        sweeps=sweeps_to_choose_by,
    output:
        json="<results>/thresholds/{track}.json",
    log:
        "<logs>/choose_threshold/{track}.log",
    benchmark:
        "<benchmarks>/choose_threshold/{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.evaluating"),
        merge_weight=config["evaluate"]["merge_weight"],
        choose_by=config["evaluate"]["choose_by"],
    script:
        "../scripts/choose_threshold.py"


rule find_best:
    """Find the best threshold of a volume by its own reference, and say how those chosen without it do there."""
    input:
        scores=rules.score.output.scores,
        chosen="<results>/thresholds/{track}.json",
        sweep="<results>/{volume}/{track}/disagreement.csv",
    output:
        json="<results>/{volume}/{track}/best.json",
    log:
        "<logs>/find_best/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/find_best/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.evaluating"),
    script:
        "../scripts/find_best.py"


rule rank_errors:
    """List the worst splits and merges at the chosen threshold, and where they are."""
    input:
        unpack(reference_files),
        overlaps=rules.count_overlaps.output.overlaps,
        lut="<results>/{volume}/{track}/luts/chosen.parquet",
        fragments="<results>/{volume}/{track}/fragments.zarr",
        parts=parts("<results>/{volume}/{track}/errors.csv"),
    output:
        errors="<results>/{volume}/{track}/errors.csv",
    log:
        "<logs>/rank_errors/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/rank_errors/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.locating"),
        result="table",
        border=border_of,
        reach=config["evaluate"]["reach"],
        block=config["segment"]["block"],
    script:
        "../scripts/locate_errors.py"


use rule rank_errors as rank_errors_part with:
    input:
        unpack(reference_files),
        overlaps=rules.count_overlaps.output.overlaps,
        lut="<results>/{volume}/{track}/luts/chosen.parquet",
        fragments="<results>/{volume}/{track}/fragments.zarr",
    output:
        temp("<results>/{volume}/{track}/errors.csv.parts/{part}.json"),
    log:
        "<logs>/rank_errors/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/rank_errors/{volume}.{track}.{part}.tsv"


rule write_errors:
    """Mark the voxels that are split or merged at a threshold, block by block; made when asked for by name."""
    input:
        unpack(reference_files),
        overlaps=rules.count_overlaps.output.overlaps,
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
        fragments="<results>/{volume}/{track}/fragments.zarr",
        parts=parts("<results>/{volume}/{track}/errors/{threshold}.zarr"),
    output:
        errors=directory("<results>/{volume}/{track}/errors/{threshold}.zarr"),
    log:
        "<logs>/write_errors/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/write_errors/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.locating"),
        result="volume",
        border=border_of,
        reach=config["evaluate"]["reach"],
        block=config["segment"]["block"],
    script:
        "../scripts/locate_errors.py"


use rule write_errors as write_errors_part with:
    input:
        unpack(reference_files),
        overlaps=rules.count_overlaps.output.overlaps,
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
        fragments="<results>/{volume}/{track}/fragments.zarr",
    output:
        temp("<results>/{volume}/{track}/errors/{threshold}.zarr.parts/{part}.json"),
    log:
        "<logs>/write_errors/{volume}.{track}.{threshold}.{part}.log",
    benchmark:
        "<benchmarks>/write_errors/{volume}.{track}.{threshold}.{part}.tsv"


rule evaluate:
    """Target: scores of every track on every volume with a reference, disagreement on every volume."""
    input:
        once_chosen([f"<results>/{volume}/{track}/best.json" for volume, track in SCORED] + SKELETON_SCORES),
        once_chosen([f"<results>/{volume}/{track}/disagreement/chosen/sections.csv" for volume, track in FOLLOWED]),
