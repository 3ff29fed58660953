"""What people type for a picture: its name or another word for it, with words around that change nothing."""

import random

BEFORE = [
    "", "a ", "an ", "the ", "my ", "one ", "a picture of a ", "a picture of an ", "a picture of the ", "picture of a ",
    "a photo of a ", "a photo of an ", "photo of ", "an image of a ", "an emoji of a ", "emoji of ", "a drawing of a ",
    "a painting of a ", "a 3d render of a ", "a 3d render of an ", "an icon of a ", "draw me a ", "show me the ",
]
ADJECTIVES = [
    "cute", "little", "small", "big", "happy", "beautiful", "funny", "nice", "pretty", "tiny", "huge", "old", "new", "sweet",
    "shiny", "colorful", "cartoon", "red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "pink",
]
AFTER = [
    "", " emoji", " icon", " on a white background", " on white", ", 3d", ", 3d render", ", cute", ", digital art",
    ", high quality", ", fluent style", " in the snow", " in a forest", " at night", " in the sun", " on a table",
    ", watercolor", ", cartoon style", " please", ".", "!",
]


def caption(rng: random.Random, name: str, words: list[str], names: set[str]) -> str:
    """One of the many ways to ask for the picture `name`, of which a third are the plain "a name"."""
    subject = rng.choice(words) if words and rng.random() < 0.25 else name
    if rng.random() < 0.35:
        return rng.choice(BEFORE[:4]) + subject
    before, adjective, after = rng.choice(BEFORE), "", ""
    if rng.random() < 0.4:
        adjective = rng.choice(ADJECTIVES)
        # "red apple" is a picture of its own, and "red" decides between hearts.
        if f"{adjective} {subject}" in names or any(c in subject.split() for c in ADJECTIVES):
            adjective = ""
    if rng.random() < 0.4:
        after = rng.choice(AFTER)
    return f"{before}{adjective + ' ' if adjective else ''}{subject}{after}"
