"""Published figures of other systems on cc2017, printed beside ours.

Source: tables a and b of the supplement of NEURONS. All of them use BOLD averaged over ten
repeats, their own subjects and movie, and the classifiers of their papers. They show the scale;
they are not a comparison on the same data.
"""

KEYS = {
    "frame_2way": "2-way",
    "frame_50way": "50-way",
    "ssim_neurons": "SSIM",
    "psnr_db": "PSNR, dB",
}
"""Which of our figures they are, and how the papers head their columns. Sampled and exact n-way
estimate the same number; SSIM is the reference's column form."""

SYSTEMS: dict[str, dict[str, float]] = {
    "Nishimoto": {"frame_2way": 0.727, "ssim_neurons": 0.116, "psnr_db": 8.012},
    "Wen": {"frame_2way": 0.758, "frame_50way": 0.070, "ssim_neurons": 0.114, "psnr_db": 7.646},
    "Wang": {"frame_2way": 0.713, "ssim_neurons": 0.118, "psnr_db": 11.432},
    "Kupersmidt": {
        "frame_2way": 0.764,
        "frame_50way": 0.179,
        "ssim_neurons": 0.135,
        "psnr_db": 8.761,
    },
    "MinD-Video": {
        "frame_2way": 0.796,
        "frame_50way": 0.174,
        "ssim_neurons": 0.171,
        "psnr_db": 8.662,
    },
    "NeuroClips": {
        "frame_2way": 0.806,
        "frame_50way": 0.203,
        "ssim_neurons": 0.390,
        "psnr_db": 9.211,
    },
    "NEURONS": {
        "frame_2way": 0.811,
        "frame_50way": 0.210,
        "ssim_neurons": 0.365,
        "psnr_db": 9.527,
    },
    "NEURONS, subject 1": {
        "frame_2way": 0.810,
        "frame_50way": 0.206,
        "ssim_neurons": 0.373,
        "psnr_db": 9.591,
    },
    "NEURONS, subject 2": {
        "frame_2way": 0.810,
        "frame_50way": 0.214,
        "ssim_neurons": 0.353,
        "psnr_db": 9.502,
    },
    "NEURONS, subject 3": {
        "frame_2way": 0.817,
        "frame_50way": 0.210,
        "ssim_neurons": 0.369,
        "psnr_db": 9.488,
    },
}
"""Figures by our keys; a system that did not publish one lacks it."""

CONCEPTS: dict[int, float] = {
    0: 0.450,
    1: 0.735,
    2: 0.228,
    3: 0.070,
    4: 0.184,
    6: 0.196,
    8: 0.0625,
    9: 0.057,
    10: 0.163,
    11: 0.155,
    12: 0.033,
    14: 0.0,
    15: 0.0,
    17: 0.144,
    18: 0.310,
    19: 0.212,
    20: 0.292,
    21: 0.0623,
    23: 0.067,
    24: 0.182,
    25: 0.6,
    26: 0.0,
    27: 0.0,
    28: 0.091,
    31: 0.209,
    32: 0.283,
    34: 0.214,
    37: 0.0,
    38: 0.0,
    39: 0.147,
    41: 0.042,
    45: 0.0,
    46: 0.111,
    48: 0.0,
    50: 0.262,
}
"""Table b: share of a class' clips found by NEURONS; classes that are not here are absent there."""
