"""Name, group and explanation of each figure."""

from dataclasses import dataclass

GROUPS = ("Pictures", "Frame-based", "Video-based", "Identification", "Concepts", "Captions")


@dataclass(frozen=True)
class Entry:
    """One figure. Higher is better in all of them."""

    label: str
    group: str


def _identification() -> dict[str, Entry]:
    entries = {}
    for source, whose in (("brain", "brain tokens"), ("prior", "prior's tokens")):
        for way, what in (("forward", "brain → picture"), ("backward", "picture → brain")):
            for place, said in (
                ("top1_of_50", "top-1 of 50"),
                ("top1", "top-1 of all"),
                ("top5", "top-5 of all"),
            ):
                label = f"{what}, {said} ({whose})"
                entries[f"retrieval_{source}_{way}_{place}"] = Entry(label, "Identification")
    return entries


CATALOG = {
    "ssim_neurons": Entry("SSIM, column form of the reference", "Pictures"),
    "ssim_2d": Entry("SSIM, standard", "Pictures"),
    "psnr_db": Entry("PSNR (dB)", "Pictures"),
    "clip_pcc": Entry("CLIP-pcc, consistency of frames", "Pictures"),
    "mask_iou": Entry("key-object mask, IoU", "Pictures"),
    "frame_2way": Entry("2-way, exact", "Frame-based"),
    "frame_50way": Entry("50-way, exact", "Frame-based"),
    "frame_2way_sampled": Entry("2-way, 100 draws", "Frame-based"),
    "frame_50way_sampled": Entry("50-way, 100 draws", "Frame-based"),
    "video_2way": Entry("2-way, exact", "Video-based"),
    "video_50way": Entry("50-way, exact", "Video-based"),
    "video_2way_sampled": Entry("2-way, 100 draws", "Video-based"),
    "video_50way_sampled": Entry("50-way, 100 draws", "Video-based"),
    **_identification(),
    "concept_top1": Entry("most probable class is true", "Concepts"),
    "concept_found": Entry("labels found above 0.5, mean of classes (table b)", "Concepts"),
    "concept_false_alarm": Entry("other classes above 0.5 (lower is better)", "Concepts"),
    "bleu_1": Entry("BLEU-1", "Captions"),
    "bleu_2": Entry("BLEU-2", "Captions"),
    "bleu_3": Entry("BLEU-3", "Captions"),
    "bleu_4": Entry("BLEU-4", "Captions"),
    "cider_d": Entry("CIDEr-D (0 to 10)", "Captions"),
    "verb_accuracy": Entry("verb accuracy", "Captions"),
}
