"""The nets of the pseudo track, which go first, and the baseline; the bootstrapped net is trained in bootstrap.smk."""


rule train_2d:
    """Train the 2D net on the annotated sections."""
    input:
        sections=expand(rules.slice_sections.output.sections, volume=ANNOTATED),
    output:
        checkpoint="<results>/nets/2d/checkpoint.pt",
        losses="<results>/nets/2d/losses.csv",
        snapshots="<results>/nets/2d/snapshots.png",
        tensorboard=directory("<results>/nets/2d/tensorboard"),
    log:
        "<logs>/train_2d/2d.log",
    benchmark:
        "<benchmarks>/train_2d/2d.tsv"
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        code=code_hash("stages.training"),
        net=to_train("2d"),
        validation={name: config["volumes"][name]["annotation"]["validation"] for name in ANNOTATED},
        seed=config["seed"],
    script:
        "../scripts/train_2d.py"


rule train_2d_to_3d:
    """Train the 2D-to-3D net on synthetic labels; it sees no data, so one net serves every volume."""
    output:
        checkpoint="<results>/nets/2d_to_3d/checkpoint.pt",
        losses="<results>/nets/2d_to_3d/losses.csv",
        snapshots="<results>/nets/2d_to_3d/snapshots.png",
        tensorboard=directory("<results>/nets/2d_to_3d/tensorboard"),
    log:
        "<logs>/train_2d_to_3d/2d_to_3d.log",
    benchmark:
        "<benchmarks>/train_2d_to_3d/2d_to_3d.tsv"
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        code=code_hash("stages.training"),
        net=to_train("2d_to_3d"),
        stacked={key: config["nets"]["2d"][key] for key in ("offsets", "sigma", "downsample", "grow_boundary")},
        seed=config["seed"],
    script:
        "../scripts/train_2d_to_3d.py"


rule train_3d_baseline:
    """Train the 3D net on the dense truth of the annotated volumes, to compare with."""
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=DENSE),
        labels=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        # Of dense truth nothing is known where it is 0: it is its own mask.
        mask=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        descriptors=first_descriptors("baseline", DENSE),
    output:
        checkpoint="<results>/nets/3d_baseline/checkpoint.pt",
        losses="<results>/nets/3d_baseline/losses.csv",
        snapshots="<results>/nets/3d_baseline/snapshots.png",
        tensorboard=directory("<results>/nets/3d_baseline/tensorboard"),
    log:
        "<logs>/train_3d_baseline/3d_baseline.log",
    benchmark:
        "<benchmarks>/train_3d_baseline/3d_baseline.tsv"
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
        volumes=DENSE,
        seed=config["seed"],
    script:
        "../scripts/train_3d.py"


use rule train_3d_baseline as train_3d_lsd_baseline with:
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=DENSE),
        labels=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        mask=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        descriptors=[],
    output:
        checkpoint="<results>/nets/3d_lsd_baseline/checkpoint.pt",
        losses="<results>/nets/3d_lsd_baseline/losses.csv",
        snapshots="<results>/nets/3d_lsd_baseline/snapshots.png",
        tensorboard=directory("<results>/nets/3d_lsd_baseline/tensorboard"),
    log:
        "<logs>/train_3d_lsd_baseline/3d_lsd_baseline.log",
    benchmark:
        "<benchmarks>/train_3d_lsd_baseline/3d_lsd_baseline.tsv"
    params:
        net=to_train("3d", kind="3d_lsd"),


rule train:
    """Target: the 2D net and the 2D-to-3D net."""
    input:
        "<results>/nets/2d/checkpoint.pt",
        "<results>/nets/2d_to_3d/checkpoint.pt",
