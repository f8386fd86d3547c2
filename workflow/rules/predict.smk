"""Trained nets applied to whole volumes, block by block."""


rule predict_2d:
    """Predict every section of a volume with the 2D net, stacked along the axis they lie across."""
    input:
        volumes=["<results>/{volume}/raw.zarr"],
        checkpoint=checkpoint_files("2d"),
        parts=parts(f"<results>/{{volume}}/pseudo/stacked_{PREDICTED_2D[0]}{{across}}.zarr"),
    output:
        [directory(f"<results>/{{volume}}/pseudo/stacked_{name}{{across}}.zarr") for name in PREDICTED_2D],
    log:
        "<logs>/predict_2d/{volume}{across}.log",
    benchmark:
        "<benchmarks>/predict_2d/{volume}{across}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=gpu_for_blocks,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        code=code_hash("stages.predicting"),
        inputs=["raw"],
        outputs=lambda wildcards: {name: f"stacked_{name}{wildcards.across}.zarr" for name in PREDICTED_2D},
        how=lambda wildcards: prediction_settings() | {"across": wildcards.across[1:] or "z"},
        block=prediction_block,
    script:
        "../scripts/predict.py"


use rule predict_2d as predict_2d_part with:
    input:
        volumes=["<results>/{volume}/raw.zarr"],
        checkpoint=checkpoint_files("2d"),
    output:
        temp(f"<results>/{{volume}}/pseudo/stacked_{PREDICTED_2D[0]}{{across}}.zarr.parts/{{part}}.json"),
    log:
        "<logs>/predict_2d/{volume}{across}.{part}.log",
    benchmark:
        "<benchmarks>/predict_2d/{volume}{across}.{part}.tsv"


rule predict_2d_to_3d:
    """Turn stacked 2D predictions into 3D affinities, the mean where there are several stacks."""
    input:
        volumes=[f"<results>/{{volume}}/pseudo/stacked_{name}.zarr" for name in LIFTED],
        checkpoint=checkpoint_files("2d_to_3d"),
        parts=parts("<results>/{volume}/pseudo/affinities.zarr"),
    output:
        directory("<results>/{volume}/pseudo/affinities.zarr"),
    log:
        "<logs>/predict_2d_to_3d/{volume}.log",
    benchmark:
        "<benchmarks>/predict_2d_to_3d/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=gpu_for_blocks,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        code=code_hash("stages.predicting"),
        inputs=LIFTED,
        outputs={"affinities": "affinities.zarr"},
        how=prediction_settings(),
        block=prediction_block,
    script:
        "../scripts/predict.py"


use rule predict_2d_to_3d as predict_2d_to_3d_part with:
    input:
        volumes=[f"<results>/{{volume}}/pseudo/stacked_{name}.zarr" for name in LIFTED],
        checkpoint=checkpoint_files("2d_to_3d"),
    output:
        temp("<results>/{volume}/pseudo/affinities.zarr.parts/{part}.json"),
    log:
        "<logs>/predict_2d_to_3d/{volume}.{part}.log",
    benchmark:
        "<benchmarks>/predict_2d_to_3d/{volume}.{part}.tsv"


rule predict_3d:
    """Predict a volume with the 3D net of a track."""
    input:
        volumes=PATHS_3D,
        checkpoint=lambda wildcards: checkpoint_files(f"3d_{wildcards.track}"),
        parts=parts(f"<results>/{{volume}}/{{track}}/{PREDICTED_3D[0]}.zarr"),
    output:
        [directory(f"<results>/{{volume}}/{{track,{ON_RAW}}}/{name}.zarr") for name in PREDICTED_3D],
    log:
        "<logs>/predict_3d/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/predict_3d/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 8
    resources:
        gpu=gpu_for_blocks,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        code=code_hash("stages.predicting"),
        inputs=READ_3D,
        outputs={name: f"{name}.zarr" for name in PREDICTED_3D},
        how=prediction_settings(),
        block=prediction_block,
    script:
        "../scripts/predict.py"


use rule predict_3d as predict_3d_part with:
    input:
        volumes=PATHS_3D,
        checkpoint=lambda wildcards: checkpoint_files(f"3d_{wildcards.track}"),
    output:
        temp(f"<results>/{{volume}}/{{track,{ON_RAW}}}/{PREDICTED_3D[0]}.zarr.parts/{{part}}.json"),
    log:
        "<logs>/predict_3d/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/predict_3d/{volume}.{track}.{part}.tsv"


use rule predict_3d as predict_3d_lsd with:
    input:
        volumes=["<results>/{volume}/raw.zarr"],
        checkpoint=lambda wildcards: checkpoint_files(f"3d_lsd_{wildcards.track}"),
        parts=parts("<results>/{volume}/{track}/descriptors.zarr"),
    output:
        directory(f"<results>/{{volume}}/{{track,{FIRST_TRACKS}}}/descriptors.zarr"),
    log:
        "<logs>/predict_3d_lsd/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/predict_3d_lsd/{volume}.{track}.tsv"
    params:
        inputs=["raw"],
        outputs={"descriptors": "descriptors.zarr"},


use rule predict_3d_lsd as predict_3d_lsd_part with:
    input:
        volumes=["<results>/{volume}/raw.zarr"],
        checkpoint=lambda wildcards: checkpoint_files(f"3d_lsd_{wildcards.track}"),
    output:
        temp(f"<results>/{{volume}}/{{track,{FIRST_TRACKS}}}/descriptors.zarr.parts/{{part}}.json"),
    log:
        "<logs>/predict_3d_lsd/{volume}.{track}.{part}.log",
    benchmark:
        "<benchmarks>/predict_3d_lsd/{volume}.{track}.{part}.tsv"


rule predict:
    """Target: 3D affinities of every volume that a track is scored or bootstrapped on."""
    input:
        once_chosen([f"<results>/{volume}/{track}/affinities.zarr" for volume, track in FOLLOWED]),
