"""How far segmentations contradict what the nets predicted, for volumes without truth."""


rule count_links:
    """Count and sum the long-range affinities between every two fragments, block by block."""
    input:
        affinities="<results>/{volume}/{track}/affinities.zarr",
        fragments="<results>/{volume}/{track}/fragments.zarr",
        parts=parts("<results>/{volume}/{track}/links.parquet"),
    output:
        links="<results>/{volume}/{track}/links.parquet",
    log:
        "<logs>/count_links/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/count_links/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.disagreeing"),
        block=config["segment"]["block"],
    script:
        "../scripts/count_links.py"


use rule count_links as count_links_part with:
    input:
        affinities="<results>/{volume}/{track}/affinities.zarr",
        fragments="<results>/{volume}/{track}/fragments.zarr",
    output:
        temp("<results>/{volume}/{track}/links.parquet.parts/{part}.json"),
    log:
        "<logs>/count_links/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/count_links/{volume}.{track}.{part}.tsv"


rule sweep_disagreement:
    """Say how far the segmentation of every threshold contradicts the long-range affinities."""
    input:
        links=rules.count_links.output.links,
        partitions=PARTITIONS,
    output:
        sweep="<results>/{volume}/{track}/disagreement.csv",
    log:
        "<logs>/sweep_disagreement/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/sweep_disagreement/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.disagreeing"),
        thresholds=threshold_names(config["segment"]["thresholds"]),
        repulsion=REPULSION,
    script:
        "../scripts/sweep_disagreement.py"


rule measure_disagreement:
    """Say how far every object and section of a segmentation contradicts affinities and descriptors."""
    input:
        unpack(predicted_files),
        fragments="<results>/{volume}/{track}/fragments.zarr",
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
        parts=parts("<results>/{volume}/{track}/disagreement/{threshold}/objects.parquet"),
    output:
        objects="<results>/{volume}/{track}/disagreement/{threshold}/objects.parquet",
        sections="<results>/{volume}/{track}/disagreement/{threshold}/sections.csv",
    log:
        "<logs>/measure_disagreement/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/measure_disagreement/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.disagreeing"),
        predictions=lambda wildcards: list(predicted_files(wildcards)),
        downsample=downsample_of,
        block=config["segment"]["block"],
    script:
        "../scripts/measure_disagreement.py"


use rule measure_disagreement as measure_disagreement_part with:
    input:
        unpack(predicted_files),
        fragments="<results>/{volume}/{track}/fragments.zarr",
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
    output:
        temp("<results>/{volume}/{track}/disagreement/{threshold}/objects.parquet.parts/{part}.json"),
    log:
        "<logs>/measure_disagreement/{volume}.{track}.{threshold}.{part}.log",
    benchmark:
        "<benchmarks>/measure_disagreement/{volume}.{track}.{threshold}.{part}.tsv"
