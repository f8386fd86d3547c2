"""Input: described, generated or downloaded, and imported to OME-Zarr."""


rule write_check:
    """Write what was found in the input: images, labels and annotated sections."""
    output:
        json="<results>/check.json",
        text="<results>/check.txt",
    log:
        "<logs>/write_check/run.log",
    benchmark:
        "<benchmarks>/write_check/run.tsv"
    # In this process it is known what was found.
    localrule: True
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.input_table", "stages.inspecting"),
        config={key: config[key] for key in CHECKED},
        found=lambda wildcards: FOUND,
        seen=lambda wildcards: inspected()[1],
    script:
        "../scripts/write_check.py"


rule check:
    """Target: all input and settings checked, as every run does when it starts; shows what was found."""
    input:
        rules.write_check.output.text,
    log:
        "<logs>/check/run.log",
    localrule: True
    conda:
        "../../envs/sparse2dense.yaml"
    shell:
        "tee {log:q} < {input:q}"


rule write_plan:
    """Write what a run will do and cost: nets with their shapes, volumes with blocks and memory, jobs, disk and time."""
    output:
        text="<results>/plan.txt",
    log:
        "<logs>/write_plan/run.log",
    benchmark:
        "<benchmarks>/write_plan/run.tsv"
    # In this process it is known what was found and what jobs get.
    localrule: True
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.planning"),
        config={key: config[key] for key in CHECKED},
        found=lambda wildcards: FOUND,
        allowances=allowances,
        rates=rates,
    script:
        "../scripts/write_plan.py"


rule plan:
    """Target: the plan of the run, shown."""
    input:
        rules.write_plan.output.text,
    log:
        "<logs>/plan/run.log",
    localrule: True
    conda:
        "../../envs/sparse2dense.yaml"
    shell:
        "tee {log:q} < {input:q}"


rule make_phantom:
    """Generate an EM-like volume and its exact truth."""
    output:
        raw="<results>/{volume}/phantom/raw.tif",
        truth="<results>/{volume}/phantom/truth.tif",
    log:
        "<logs>/make_phantom/{volume}.log",
    benchmark:
        "<benchmarks>/make_phantom/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.phantoms"),
        phantom=of_volume("phantom"),
    script:
        "../scripts/make_phantom.py"


rule download:
    """Download the files of a source and check their checksums."""
    output:
        files=directory("<results>/{volume}/download/{kind}"),
    log:
        "<logs>/download/{volume}.{kind}.log",
    benchmark:
        "<benchmarks>/download/{volume}.{kind}.tsv"
    # Nodes of a cluster often have no network.
    localrule: True
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(120),
    params:
        code=code_hash("stages.downloading"),
        urls=lambda wildcards: addresses(source_of(wildcards)),
        sha256=checksums,
    script:
        "../scripts/download.py"


rule import_raw:
    """Import the image to OME-Zarr."""
    input:
        source=source_files,
        parts=parts("<results>/{volume}/raw.zarr"),
    output:
        volume=directory("<results>/{volume}/{kind,raw}.zarr"),
    log:
        "<logs>/import_raw/{volume}.{kind}.log",
    benchmark:
        "<benchmarks>/import_raw/{volume}.{kind}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_hash("stages.importing"),
        file=file_of,
        source=import_settings,
    script:
        "../scripts/import_volume.py"


use rule import_raw as import_raw_part with:
    input:
        source=source_files,
    output:
        temp("<results>/{volume}/{kind,raw}.zarr.parts/{part}.json"),
    log:
        "<logs>/import_raw/{volume}.{kind}.{part}.log",
    benchmark:
        "<benchmarks>/import_raw/{volume}.{kind}.{part}.tsv"


rule import_labels:
    """Import labels or their mask to OME-Zarr, with their ids as they are, placed in the frame of raw."""
    input:
        source=source_files,
        raw="<results>/{volume}/raw.zarr",
    output:
        volume=directory("<results>/{volume}/{kind,truth|painted|painted_mask}.zarr"),
    log:
        "<logs>/import_labels/{volume}.{kind}.log",
    benchmark:
        "<benchmarks>/import_labels/{volume}.{kind}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_hash("stages.importing"),
        file=file_of,
        source=import_settings,
    script:
        "../scripts/import_volume.py"
