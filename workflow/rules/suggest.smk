"""Where to paint next."""


rule measure_regions:
    """Measure how sure the 2D net is in every region of every section, whether it is believed, and what stands there."""
    input:
        unpack(judged_files),
        parts=parts("<results>/{volume}/pseudo/regions.parquet"),
    output:
        regions="<results>/{volume}/pseudo/regions.parquet",
    log:
        "<logs>/measure_regions/{volume}.log",
    benchmark:
        "<benchmarks>/measure_regions/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.suggesting"),
        region=config["paint_next"]["region"],
        block=config["segment"]["block"],
    script:
        "../scripts/measure_regions.py"


use rule measure_regions as measure_regions_part with:
    input:
        unpack(judged_files),
    output:
        temp("<results>/{volume}/pseudo/regions.parquet.parts/{part}.json"),
    log:
        "<logs>/measure_regions/{volume}.{part}.log",
    benchmark:
        "<benchmarks>/measure_regions/{volume}.{part}.tsv"


rule suggest_painting:
    """Rank sections and regions of all volumes that are not for testing by what their annotation would bring."""
    input:
        regions=expand("<results>/{volume}/pseudo/regions.parquet", volume=SUGGESTED),
    output:
        suggestions="<results>/paint_next.csv",
    log:
        "<logs>/suggest_painting/run.log",
    benchmark:
        "<benchmarks>/suggest_painting/run.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.suggesting"),
        volumes=SUGGESTED,
        at_most=config["paint_next"]["count"],
    script:
        "../scripts/suggest_painting.py"


rule figure_paint_next:
    """Show the first suggestions of a volume, and where the 2D net is unsure."""
    input:
        raw="<results>/{volume}/raw.zarr",
        affinities=uncertain_affinities,
        suggestions=rules.suggest_painting.output.suggestions,
    output:
        png=report(
            "<results>/{volume}/pseudo/figures/paint_next.png",
            category="Where to paint next",
            labels={"volume": "{volume}"},
            caption="../report/paint_next.rst",
        ),
    log:
        "<logs>/figure_paint_next/{volume}.log",
    benchmark:
        "<benchmarks>/figure_paint_next/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="paint_next",
    script:
        "../scripts/figure.py"


rule paint_next:
    """Target: which sections and regions to annotate next."""
    input:
        rules.suggest_painting.output.suggestions,
