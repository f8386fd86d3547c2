"""The nets of the pseudo track, which go first, and the baseline; the bootstrapped net is trained in bootstrap.smk."""


rule train_2d:
    """Train the 2D net on the annotated sections."""
    input:
        sections=expand(rules.slice_sections.output.sections, volume=ANNOTATED),
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
        "<logs>/train_2d/{net}.log",
    benchmark:
        "<benchmarks>/train_2d/{net}.tsv"
    wildcard_constraints:
        net=either(MEMBERS["2d"]),
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8 * DEVICES["2d"]
    resources:
        gpu=DEVICES["2d"],
        nodes=1,
        mem_mb=growing(16000 * DEVICES["2d"]),
        runtime=growing(720),
    params:
        code=code_hash("stages.training"),
        net=to_train("2d"),
        validation=VALIDATION,
        weights=weights_of(ANNOTATED),
        seed=member_seed,
    script:
        "../scripts/train_2d.py"


rule measure_errors:
    """Measure how wrong the 2D net is on what its training held out; only for a 2D-to-3D net that learns from that."""
    input:
        checkpoint=checkpoint_files("2d")[0],
        sections=expand(rules.slice_sections.output.sections, volume=ANNOTATED),
    output:
        errors="<results>/nets/errors_2d.json",
    log:
        "<logs>/measure_errors/2d.log",
    benchmark:
        "<benchmarks>/measure_errors/2d.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("stages.measuring_errors"),
        net={key: config["nets"]["2d"][key] for key in ("downsample", "grow_boundary", "rim")},
        validation=VALIDATION,
        read=LIFT_INPUTS[config["nets"]["2d_to_3d"]["kind"]],
    script:
        "../scripts/measure_errors.py"


rule train_2d_to_3d:
    """Train the 2D-to-3D net on synthetic labels; it sees no data, so one net serves every volume."""
    input:
        errors=rules.measure_errors.output.errors if MEASURED else [],
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
        "<logs>/train_2d_to_3d/{net}.log",
    benchmark:
        "<benchmarks>/train_2d_to_3d/{net}.tsv"
    wildcard_constraints:
        net=either(MEMBERS["2d_to_3d"]),
    priority: 1
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8 * DEVICES["2d_to_3d"]
    resources:
        gpu=DEVICES["2d_to_3d"],
        nodes=1,
        mem_mb=growing(16000 * DEVICES["2d_to_3d"]),
        runtime=growing(720),
    params:
        code=code_hash("stages.measuring_errors", "stages.training"),
        net=to_train("2d_to_3d"),
        stacked={key: config["nets"]["2d"][key] for key in ("offsets", "sigma", "downsample", "grow_boundary")},
        seed=member_seed,
    script:
        "../scripts/train_2d_to_3d.py"


rule train_3d_baseline:
    """Train the 3D net on the dense truth of the annotated volumes, to compare with."""
    input:
        raw=expand("<results>/{volume}/raw.zarr", volume=DENSE),
        labels=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        # Of dense truth nothing is known where it is 0: it is its own mask.
        mask=expand("<results>/{volume}/truth.zarr", volume=DENSE),
        descriptors=first_descriptors(DENSE),
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
        "<logs>/train_3d_baseline/{net}.log",
    benchmark:
        "<benchmarks>/train_3d_baseline/{net}.tsv"
    wildcard_constraints:
        net=either(nets_of(["baseline"])),
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
        weights=weights_of(DENSE),
        seed=member_seed,
    script:
        "../scripts/train_3d.py"


rule train:
    """Target: the 2D net and the 2D-to-3D net."""
    input:
        checkpoint_files("2d"),
        checkpoint_files("2d_to_3d"),
