"""From affinities to fragments, one merge tree, and the segmentation of any threshold."""


rule make_fragments:
    """Over-segment a volume by seeded watershed, block by block."""
    input:
        unpack(tissue_file),
        affinities="<results>/{volume}/{track}/affinities.zarr",
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
        fragments={key: value for key, value in config["segment"]["fragments"].items() if key != "only_tissue"},
        block=config["segment"]["block"],
        context=config["segment"]["context"],
    script:
        "../scripts/make_fragments.py"


rule make_merge_tree:
    """Agglomerate the fragments once and keep the order in which they merge."""
    input:
        affinities="<results>/{volume}/{track}/affinities.zarr",
        fragments=rules.make_fragments.output.fragments,
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
        code=code_hash("stages.segmenting"),
        merge_function=config["segment"]["merge_function"],
    script:
        "../scripts/make_merge_tree.py"


rule cut_merge_tree:
    """Look up the segment of every fragment at a threshold, given in the file's name, `best` or `chosen`."""
    input:
        unpack(threshold_file),
        tree=rules.make_merge_tree.output.tree,
    output:
        lut="<results>/{volume}/{track}/luts/{threshold}.parquet",
    log:
        "<logs>/cut_merge_tree/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/cut_merge_tree/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.segmenting", "stages.evaluating"),
    script:
        "../scripts/cut_merge_tree.py"


rule write_segmentation:
    """Write the segmentation of a threshold as a volume, block by block."""
    input:
        fragments=rules.make_fragments.output.fragments,
        lut=rules.cut_merge_tree.output.lut,
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


rule segment:
    """Target: the best segmentation of every scored volume, the chosen one of unlabelled volumes."""
    input:
        once_chosen([f"<results>/{volume}/{track}/segmentation/best.zarr" for volume, track in SCORED]),
        [f"<results>/{volume}/{track}/segmentation/chosen.zarr" for volume, track in UNSCORED],
