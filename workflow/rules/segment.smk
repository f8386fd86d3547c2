"""From affinities to fragments, one merge tree, and the segmentation of any threshold."""


rule make_fragments:
    """Over-segment a volume by seeded watershed, block by block."""
    input:
        unpack(tissue_file),
        affinities="<results>/{volume}/{track}/affinities.zarr",
        parts=parts("<results>/{volume}/{track}/fragments.zarr"),
    output:
        fragments=directory("<results>/{volume}/{track}/fragments.zarr"),
    log:
        "<logs>/make_fragments/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/make_fragments/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.segmenting"),
        fragments=fragment_settings(),
        block=config["segment"]["block"],
        context=config["segment"]["context"],
    script:
        "../scripts/make_fragments.py"


use rule make_fragments as make_fragments_part with:
    input:
        unpack(tissue_file),
        affinities="<results>/{volume}/{track}/affinities.zarr",
    output:
        temp("<results>/{volume}/{track}/fragments.zarr.parts/{part}.json"),
    log:
        "<logs>/make_fragments/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/make_fragments/{volume}.{track}.{part}.tsv"


rule make_graph:
    """Count and sum the affinities between touching fragments."""
    input:
        affinities="<results>/{volume}/{track}/affinities.zarr",
        fragments=rules.make_fragments.output.fragments,
        parts=parts("<results>/{volume}/{track}/graph"),
    output:
        graph=directory("<results>/{volume}/{track}/graph"),
    log:
        "<logs>/make_graph/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/make_graph/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code_hash("stages.agglomerating"),
        histogram=not MUTEX and config["segment"]["merge_function"] != "mean",
        long_range=MUTEX,
        block=config["segment"]["block"],
    script:
        "../scripts/make_graph.py"


use rule make_graph as make_graph_part with:
    input:
        affinities="<results>/{volume}/{track}/affinities.zarr",
        fragments=rules.make_fragments.output.fragments,
    output:
        temp("<results>/{volume}/{track}/graph.parts/{part}.json"),
    log:
        "<logs>/make_graph/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/make_graph/{volume}.{track}.{part}.tsv"


rule make_merge_tree:
    """Agglomerate the fragments once and keep the order in which they merge."""
    input:
        graph=rules.make_graph.output.graph,
    output:
        tree="<results>/{volume}/{track}/merge_tree.parquet",
    log:
        "<logs>/make_merge_tree/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/make_merge_tree/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        code=code_hash("stages.agglomerating"),
        merge_function=config["segment"]["merge_function"],
    script:
        "../scripts/make_merge_tree.py"


rule make_lut:
    """Look up the segment of every fragment at a threshold, given in the file's name, `best`, `chosen` or `agreeing`."""
    input:
        unpack(threshold_file),
        partitions=PARTITIONS,
    output:
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
    log:
        "<logs>/make_lut/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/make_lut/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.agglomerating", "stages.evaluating"),
        repulsion=REPULSION,
    script:
        "../scripts/make_lut.py"


rule write_segmentation:
    """Write the segmentation of a threshold as a volume, block by block."""
    input:
        fragments=rules.make_fragments.output.fragments,
        lut=rules.make_lut.output.lut,
        parts=parts("<results>/{volume}/{track}/segmentation/{threshold}.zarr"),
    output:
        segmentation=directory("<results>/{volume}/{track}/segmentation/{threshold}.zarr"),
    log:
        "<logs>/write_segmentation/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/write_segmentation/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(3000),
        runtime=growing(60),
    params:
        code=code_hash("stages.segmenting"),
        block=config["segment"]["block"],
    script:
        "../scripts/write_segmentation.py"


use rule write_segmentation as write_segmentation_part with:
    input:
        fragments=rules.make_fragments.output.fragments,
        lut=rules.make_lut.output.lut,
    output:
        temp("<results>/{volume}/{track}/segmentation/{threshold}.zarr.parts/{part}.json"),
    log:
        "<logs>/write_segmentation/{volume}.{track}.{threshold}.{part}.log",
    benchmark:
        "<benchmarks>/write_segmentation/{volume}.{track}.{threshold}.{part}.tsv"


rule segment:
    """Target: the best segmentation of every scored volume, the chosen one of unlabelled volumes."""
    input:
        once_chosen([f"<results>/{volume}/{track}/segmentation/best.zarr" for volume, track in SCORED]),
        [f"<results>/{volume}/{track}/segmentation/chosen.zarr" for volume, track in UNSCORED],
