"""The annotation that the 2D net may see, and its sections."""


rule mask_tissue:
    """Mask where the image shows tissue."""
    input:
        raw="<results>/{volume}/raw.zarr",
    output:
        tissue=directory("<results>/{volume}/tissue.zarr"),
    log:
        "<logs>/mask_tissue/{volume}.log",
    benchmark:
        "<benchmarks>/mask_tissue/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.annotating"),
        tissue=config["prepare"]["tissue"],
    script:
        "../scripts/mask_tissue.py"


rule annotate:
    """Take the painted labels, or draw an annotation from dense truth, and say where it speaks."""
    input:
        unpack(annotation_files),
        raw="<results>/{volume}/raw.zarr",
    output:
        labels=directory("<results>/{volume}/labels.zarr"),
        mask=directory("<results>/{volume}/mask.zarr"),
        scope=directory("<results>/{volume}/scope.zarr"),
        statistics="<results>/{volume}/annotation.csv",
        totals="<results>/{volume}/annotation.json",
    log:
        "<logs>/annotate/{volume}.log",
    benchmark:
        "<benchmarks>/annotate/{volume}.tsv"
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.annotating"),
        annotation=annotation_settings,
    script:
        "../scripts/annotate.py"


rule slice_sections:
    """Write a 2D dataset for every annotated section: raw with adjacent sections, labels, mask, scope."""
    input:
        raw="<results>/{volume}/raw.zarr",
        labels=rules.annotate.output.labels,
        mask=rules.annotate.output.mask,
        scope=rules.annotate.output.scope,
    output:
        sections=directory("<results>/{volume}/sections"),
    log:
        "<logs>/slice_sections/{volume}.log",
    benchmark:
        "<benchmarks>/slice_sections/{volume}.tsv"
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_hash("stages.slicing"),
        adjacent=config["nets"]["2d"]["adjacent"],
        maximum_sections=config["prepare"]["maximum_sections"],
    script:
        "../scripts/slice_sections.py"


rule prepare:
    """Target: all input imported and sliced."""
    input:
        expand("<results>/{volume}/raw.zarr", volume=VOLUMES),
        expand(rules.slice_sections.output.sections, volume=ANNOTATED),
