"""The segmentation of a track, cleaned, as ground truth of a 3D net on raw; its own segmentation for the next round."""


rule make_pseudo_truth:
    """Keep the objects of a segmentation that are good enough to train on, with counts before and after."""
    input:
        segmentation=pseudo_segmentation,
    output:
        pseudo_truth=directory("<results>/{volume}/{track}/pseudo_truth.zarr"),
        mask=directory("<results>/{volume}/{track}/pseudo_truth_mask.zarr"),
        counts="<results>/{volume}/{track}/pseudo_truth.csv",
    log:
        "<logs>/make_pseudo_truth/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/make_pseudo_truth/{volume}.{track}.tsv"
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
    """Train the 3D net of a round on the pseudo ground truth of annotated and unlabelled volumes."""
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=ANNOTATED + UNLABELLED),
        labels=learnt_from(rules.make_pseudo_truth.output.pseudo_truth),
        mask=learnt_from(rules.make_pseudo_truth.output.mask),
        descriptors=first_descriptors(ANNOTATED + UNLABELLED),
    output:
        checkpoint="<results>/nets/{net}/checkpoint.pt",
        losses="<results>/nets/{net}/losses.csv",
        snapshots=report(
            "<results>/nets/{net}/snapshots.png",
            category="Training",
            labels={"net": "{net}", "picture": "sample"},
            caption="../report/snapshots.rst",
        ),
        tensorboard=directory("<results>/nets/{net}/tensorboard"),
    log:
        "<logs>/train_3d_bootstrapped/{net}.log",
    benchmark:
        "<benchmarks>/train_3d_bootstrapped/{net}.tsv"
    wildcard_constraints:
        net=either(nets_of(BOOTSTRAPPED)),
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8 * DEVICES["3d"]
    resources:
        gpu=DEVICES["3d"],
        nodes=1,
        mem_mb=growing(16000 * DEVICES["3d"]),
        runtime=growing(1440),
    params:
        code=code_hash("stages.training"),
        net=to_train("3d"),
        weights=weights_of(ANNOTATED + UNLABELLED),
        seed=member_seed,
    script:
        "../scripts/train_3d.py"


rule bootstrap:
    """Target: the 3D nets of all rounds, trained on pseudo ground truth."""
    input:
        once_chosen([file for track in BOOTSTRAPPED for file in checkpoint_files(f"3d_{track}")]),
