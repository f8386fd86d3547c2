"""What the report shows, and the captions of its pictures; no rules."""


def figures():
    """The pictures that the report shows, by its sections."""
    followed = {True: "best", False: "chosen"}
    last = [
        f"{volume}/{track}/figures/segmentation_{followed[(volume, track) in SCORED]}" for volume, track in FOLLOWED
    ]
    shown = {
        "annotation": [f"{volume}/figures/annotation" for volume in ANNOTATED],
        "prediction": [f"{volume}/pseudo/figures/prediction" for volume, track in FOLLOWED if track == "pseudo"],
        "affinities": [f"{volume}/{track}/figures/affinities" for volume, track in FOLLOWED],
        "fragments": [f"{volume}/{track}/figures/fragments" for volume, track in FOLLOWED],
        "segmentation": last,
        "pseudo_truth": [f"{volume}/{track}/figures/pseudo_truth" for volume, track in BOOTSTRAPPING],
        "paint_next": [f"{volume}/pseudo/figures/paint_next" for volume in SUGGESTED],
        "errors": [
            f"{volume}/{track}/figures/{kind}" for volume in TEST for track in TRACKS for kind in ("splits", "merges")
        ],
        "shapes": [f"{volume}/{track}/figures/shapes" for volume in TEST for track in TRACKS],
    }
    return {section: [f"<results>/{name}.png" for name in names] for section, names in shown.items()}


FIGURES = figures()
# What the report is made of, charts apart, which are drawn when all this is there.
GATHERED = FIGURES | {
    "scores": [f"<results>/{volume}/{track}/scores.csv" for volume, track in SCORED],
    "best": [f"<results>/{volume}/{track}/best.json" for volume, track in SCORED],
    "worst": [f"<results>/{volume}/{track}/errors.csv" for volume in TEST for track in TRACKS],
    "panes": [f"<results>/{volume}/figures/side_by_side" for volume in TEST],
    "skeletons": SKELETON_SCORES,
    "suggestions": ["<results>/paint_next.csv"] if SUGGESTED else [],
    "reused": [f"<results>/nets/{net}/reused.json" for net in REUSED],
    "losses": [f"<results>/nets/{net}/losses.csv" for net in NETS],
    "snapshots": [f"<results>/nets/{net}/snapshots.png" for net in NETS],
    "filters": [f"<results>/{volume}/{track}/pseudo_truth.csv" for volume, track in BOOTSTRAPPING],
}
# Charts of the whole run; each is named like its section of the report.
CHARTS = (["scores"] if SCORED else []) + (["losses"] if NETS else []) + ["resources"]
SHOWN = GATHERED | {"charts": [f"<results>/charts/{name}.png" for name in CHARTS]}


def caption(name):
    """The text below a picture, the same in the report and in Snakemake's."""
    return (Path(workflow.basedir) / "workflow/report" / f"{name}.rst").read_text().strip()
