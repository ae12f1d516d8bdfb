"""Everybody comes back at once."""

from openbell.loadprofiles.shape import READING, LoadProfile, Phase, Storm

RECONNECT_STORM = LoadProfile(
    "reconnect-storm",
    "Holds as many streams as the peak says, drops them all at once, and times until 50, 99 and 100 % are back.",
    (Phase("held", 0.4, 0.05, 0.05, READING), Phase("storm", 0.6, 0.05, 0.05, READING)),
    bell=0.4,
    storm=Storm(0.4),
    slo={"storm": ("recovery < 30s",)},
)
