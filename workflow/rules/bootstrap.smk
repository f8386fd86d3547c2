"""The segmentation of the pseudo track, cleaned, as ground truth of a 3D net on raw."""


rule make_pseudo_truth:
    """Keep the objects of a segmentation that are good enough to train on, with counts before and after."""
    input:
        segmentation=pseudo_segmentation,
    output:
        pseudo_truth=directory("<results>/{volume}/pseudo/pseudo_truth.zarr"),
        mask=directory("<results>/{volume}/pseudo/pseudo_truth_mask.zarr"),
        counts="<results>/{volume}/pseudo/pseudo_truth.csv",
    log:
        "<logs>/make_pseudo_truth/{volume}.log",
    benchmark:
        "<benchmarks>/make_pseudo_truth/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=code_hash("stages.pseudo_truth"),
        filters={key: value for key, value in config["pseudo_truth"].items() if key != "threshold"},
        block=config["segment"]["block"],
    script:
        "../scripts/make_pseudo_truth.py"


rule train_3d_bootstrapped:
    """Train the 3D net on the pseudo ground truth of annotated and unlabelled volumes."""
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=ANNOTATED + UNLABELLED),
        labels=expand(rules.make_pseudo_truth.output.pseudo_truth, volume=ANNOTATED + UNLABELLED),
        mask=expand(rules.make_pseudo_truth.output.mask, volume=ANNOTATED + UNLABELLED),
        descriptors=first_descriptors("bootstrapped", ANNOTATED + UNLABELLED),
    output:
        checkpoint="<results>/nets/3d_bootstrapped/checkpoint.pt",
        losses="<results>/nets/3d_bootstrapped/losses.csv",
        snapshots="<results>/nets/3d_bootstrapped/snapshots.png",
        tensorboard=directory("<results>/nets/3d_bootstrapped/tensorboard"),
    log:
        "<logs>/train_3d_bootstrapped/3d_bootstrapped.log",
    benchmark:
        "<benchmarks>/train_3d_bootstrapped/3d_bootstrapped.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        code=code_hash("stages.training"),
        net=to_train("3d"),
        volumes=ANNOTATED + UNLABELLED,
        seed=config["seed"],
    script:
        "../scripts/train_3d.py"


use rule train_3d_bootstrapped as train_3d_lsd_bootstrapped with:
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=ANNOTATED + UNLABELLED),
        labels=expand(rules.make_pseudo_truth.output.pseudo_truth, volume=ANNOTATED + UNLABELLED),
        mask=expand(rules.make_pseudo_truth.output.mask, volume=ANNOTATED + UNLABELLED),
        descriptors=[],
    output:
        checkpoint="<results>/nets/3d_lsd_bootstrapped/checkpoint.pt",
        losses="<results>/nets/3d_lsd_bootstrapped/losses.csv",
        snapshots="<results>/nets/3d_lsd_bootstrapped/snapshots.png",
        tensorboard=directory("<results>/nets/3d_lsd_bootstrapped/tensorboard"),
    log:
        "<logs>/train_3d_lsd_bootstrapped/3d_lsd_bootstrapped.log",
    benchmark:
        "<benchmarks>/train_3d_lsd_bootstrapped/3d_lsd_bootstrapped.tsv"
    params:
        net=to_train("3d", kind="3d_lsd"),


rule bootstrap:
    """Target: the 3D net trained on pseudo ground truth."""
    input:
        once_chosen(["<results>/nets/3d_bootstrapped/checkpoint.pt"]),
