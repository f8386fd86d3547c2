"""Pictures of every stage, and the report."""


rule figure_annotation:
    """Show the annotated sections."""
    input:
        raw="<results>/{volume}/raw.zarr",
        labels="<results>/{volume}/labels.zarr",
        mask="<results>/{volume}/mask.zarr",
    output:
        png=report(
            "<results>/{volume}/figures/annotation.png",
            category="Annotation",
            labels={"volume": "{volume}"},
            caption="../report/annotation.rst",
        ),
    log:
        "<logs>/figure_annotation/{volume}.log",
    benchmark:
        "<benchmarks>/figure_annotation/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="annotation",
    script:
        "../scripts/figure.py"


rule figure_prediction:
    """Show what the 2D net predicts."""
    input:
        raw="<results>/{volume}/raw.zarr",
        stacked=[f"<results>/{{volume}}/pseudo/stacked_{name}.zarr" for name in PREDICTED_2D],
    output:
        png=report(
            "<results>/{volume}/pseudo/figures/prediction.png",
            category="2D prediction",
            labels={"volume": "{volume}"},
            caption="../report/prediction.rst",
        ),
    log:
        "<logs>/figure_prediction/{volume}.log",
    benchmark:
        "<benchmarks>/figure_prediction/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="prediction",
        stacked=PREDICTED_2D,
    script:
        "../scripts/figure.py"


rule figure_affinities:
    """Show 3D affinities."""
    input:
        raw="<results>/{volume}/raw.zarr",
        affinities="<results>/{volume}/{track}/affinities.zarr",
    output:
        png=report(
            "<results>/{volume}/{track}/figures/affinities.png",
            category="3D affinities",
            labels={"volume": "{volume}", "track": "{track}"},
            caption="../report/affinities.rst",
        ),
    log:
        "<logs>/figure_affinities/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/figure_affinities/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="affinities",
    script:
        "../scripts/figure.py"


rule figure_fragments:
    """Show the fragments beside raw."""
    input:
        raw="<results>/{volume}/raw.zarr",
        fragments="<results>/{volume}/{track}/fragments.zarr",
    output:
        png=report(
            "<results>/{volume}/{track}/figures/fragments.png",
            category="Fragments",
            labels={"volume": "{volume}", "track": "{track}"},
            caption="../report/fragments.rst",
        ),
    log:
        "<logs>/figure_fragments/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/figure_fragments/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="fragments",
    script:
        "../scripts/figure.py"


rule figure_segmentation:
    """Show a segmentation beside raw and, on test volumes, truth."""
    input:
        unpack(truth_of_test),
        raw="<results>/{volume}/raw.zarr",
        segmentation="<results>/{volume}/{track}/segmentation/{threshold}.zarr",
    output:
        png=report(
            "<results>/{volume}/{track}/figures/segmentation_{threshold}.png",
            category="Segmentation",
            labels={"volume": "{volume}", "track": "{track}", "threshold": "{threshold}"},
            caption="../report/segmentation.rst",
        ),
    log:
        "<logs>/figure_segmentation/{volume}.{track}.{threshold}.log",
    benchmark:
        "<benchmarks>/figure_segmentation/{volume}.{track}.{threshold}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="segmentation",
    script:
        "../scripts/figure.py"


rule figure_pseudo_truth:
    """Show pseudo ground truth beside the segmentation it was made from."""
    input:
        raw="<results>/{volume}/raw.zarr",
        segmentation=pseudo_segmentation,
        pseudo_truth="<results>/{volume}/{track}/pseudo_truth.zarr",
        counts="<results>/{volume}/{track}/pseudo_truth.csv",
    output:
        png=report(
            "<results>/{volume}/{track}/figures/pseudo_truth.png",
            category="Pseudo ground truth",
            labels={"volume": "{volume}", "track": "{track}"},
            caption="../report/pseudo_truth.rst",
        ),
    log:
        "<logs>/figure_pseudo_truth/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/figure_pseudo_truth/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.figures"),
        figure="pseudo_truth",
    script:
        "../scripts/figure.py"


rule figure_errors:
    """Show the worst splits and merges of a test volume at the chosen threshold."""
    input:
        raw="<results>/{volume}/raw.zarr",
        truth="<results>/{volume}/truth.zarr",
        fragments="<results>/{volume}/{track}/fragments.zarr",
        lut="<results>/{volume}/{track}/luts/chosen.parquet",
        errors="<results>/{volume}/{track}/errors.csv",
    output:
        splits=report(
            "<results>/{volume}/{track}/figures/splits.png",
            category="Worst errors",
            labels={"volume": "{volume}", "track": "{track}", "kind": "splits"},
            caption="../report/errors.rst",
        ),
        merges=report(
            "<results>/{volume}/{track}/figures/merges.png",
            category="Worst errors",
            labels={"volume": "{volume}", "track": "{track}", "kind": "merges"},
            caption="../report/errors.rst",
        ),
    log:
        "<logs>/figure_errors/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/figure_errors/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.error_pictures"),
    script:
        "../scripts/figure_errors.py"


rule figure_shapes:
    """Show the largest segments of a test volume in 3D, beside the truth."""
    input:
        raw="<results>/{volume}/raw.zarr",
        truth="<results>/{volume}/truth.zarr",
        fragments="<results>/{volume}/{track}/fragments.zarr",
        lut="<results>/{volume}/{track}/luts/chosen.parquet",
    output:
        png=report(
            "<results>/{volume}/{track}/figures/shapes.png",
            category="Largest objects in 3D",
            labels={"volume": "{volume}", "track": "{track}"},
            caption="../report/shapes.rst",
        ),
    log:
        "<logs>/figure_shapes/{volume}.{track}.log",
    benchmark:
        "<benchmarks>/figure_shapes/{volume}.{track}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.shapes"),
    script:
        "../scripts/figure_shapes.py"


rule figure_side_by_side:
    """Write sections of a test volume, its truth and every track's segmentation, to zoom into side by side."""
    input:
        raw="<results>/{volume}/raw.zarr",
        truth="<results>/{volume}/truth.zarr",
        fragments=expand("<results>/{{volume}}/{track}/fragments.zarr", track=TRACKS),
        luts=expand("<results>/{{volume}}/{track}/luts/chosen.parquet", track=TRACKS),
    output:
        directory=report(
            directory("<results>/{volume}/figures/side_by_side"),
            patterns=["section_{section,[0-9]+}_{pane}.png"],
            category="Side by side",
            labels={"volume": "{volume}", "section": "{section}", "picture": "{pane}"},
            caption="../report/side_by_side.rst",
        ),
    log:
        "<logs>/figure_side_by_side/{volume}.log",
    benchmark:
        "<benchmarks>/figure_side_by_side/{volume}.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.side_by_side"),
        tracks=TRACKS,
    script:
        "../scripts/figure_side_by_side.py"


rule figure_scores:
    """Draw the VOI of every threshold, track and volume."""
    input:
        unpack(once_chosen({name: GATHERED[name] for name in ("scores", "best")})),
    output:
        png=report(
            "<results>/charts/scores.png",
            category="Scores",
            labels={"picture": "VOI of every track"},
            caption="../report/chart_scores.rst",
        ),
    log:
        "<logs>/figure_scores/run.log",
    benchmark:
        "<benchmarks>/figure_scores/run.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.charts"),
        figure="scores",
    script:
        "../scripts/chart.py"


rule figure_losses:
    """Draw the losses of all nets that the run has trained."""
    input:
        losses=GATHERED["losses"],
    output:
        png=report(
            "<results>/charts/losses.png",
            category="Training",
            labels={"picture": "losses of every net"},
            caption="../report/chart_losses.rst",
        ),
    log:
        "<logs>/figure_losses/run.log",
    benchmark:
        "<benchmarks>/figure_losses/run.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.charts"),
        figure="losses",
        nets=NETS,
    script:
        "../scripts/chart.py"


rule figure_resources:
    """Draw time and memory of every rule, once all else is made."""
    input:
        unpack(once_chosen(GATHERED)),
    output:
        png=report(
            "<results>/charts/resources.png",
            category="Time and memory",
            labels={"picture": "time and memory of every rule"},
            caption="../report/chart_resources.rst",
        ),
    log:
        "<logs>/figure_resources/run.log",
    benchmark:
        "<benchmarks>/figure_resources/run.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("stages.charts"),
        figure="resources",
        benchmarks=workflow.pathvars.apply("<benchmarks>"),
    script:
        "../scripts/chart.py"


rule write_report:
    """Gather scores, pictures, losses, costs and settings in one page that needs no network."""
    input:
        unpack(once_chosen(SHOWN)),
        statistics=expand("<results>/{volume}/annotation.{kind}", volume=ANNOTATED, kind=["csv", "json"]),
    output:
        html=report(
            "<results>/report.html",
            category="Report",
            labels={"page": "all results"},
            caption="../report/page.rst",
        ),
    log:
        "<logs>/write_report/run.log",
    benchmark:
        "<benchmarks>/write_report/run.tsv"
    conda:
        "../../envs/sparse2dense.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("stages.reporting"),
        config=config,
        nets=NETS,
        captions={name: caption(name) for name in [*FIGURES, "snapshots", *(f"chart_{chart}" for chart in CHARTS)]},
        benchmarks=workflow.pathvars.apply("<benchmarks>"),
    script:
        "../scripts/write_report.py"


# Named like the directive `report:`, so that `snakemake report` makes the page.
rule report:
    """Target: the report."""
    input:
        rules.write_report.output.html,
