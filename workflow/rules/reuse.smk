"""Trained nets used again: fetched, checked, and put where a training would leave its own."""

# Now that the place of results is known: Snakemake would remove the net before it is copied.
refuse(list(own_results(config["nets"], Path(workflow.pathvars.apply("<results>/nets")))))


use rule download as download_net with:
    output:
        files=directory("<results>/nets/{net}/download"),
    log:
        "<logs>/download_net/{net}.log",
    benchmark:
        "<benchmarks>/download_net/{net}.tsv"
    params:
        code=code_hash("stages.downloading"),
        urls=lambda wildcards: [config["nets"][KEYS[wildcards.net]]["checkpoint"]["url"]],
        sha256=lambda wildcards: [config["nets"][KEYS[wildcards.net]]["checkpoint"]["sha256"]],


rule reuse_net:
    """Take a trained net instead of training one, once its checkpoint is found to fit."""
    input:
        source=checkpoint_source,
    output:
        checkpoint="<results>/nets/{net}/checkpoint.pt",
        record="<results>/nets/{net}/reused.json",
    log:
        "<logs>/reuse_net/{net}.log",
    benchmark:
        "<benchmarks>/reuse_net/{net}.tsv"
    wildcard_constraints:
        net=either(REUSED),
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.reusing"),
        file=checkpoint_name,
        key=lambda wildcards: KEYS[wildcards.net],
        settings=reuse_settings,
        section={key: config["nets"]["2d"][key] for key in ("offsets", "sigma")},
        voxel_sizes=stated_voxel_sizes,
    script:
        "../scripts/reuse_net.py"


ruleorder: reuse_net > train_2d > train_2d_to_3d > train_3d_bootstrapped > train_3d_baseline
