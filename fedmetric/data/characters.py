"""The characters of the embedded data set: which are learned, which are held out, and the faces that draw them.

A class is a shape, so of two characters that differ in size only (o and O) one is kept, and no held-out character has
the shape of a learned one: Cyrillic Г П Ф З А В ... are left out because Greek, Latin or a digit already has them.
Every character is in the character map of all 16 faces; a test checks it.
"""

from __future__ import annotations

from pathlib import Path

LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "abdefghijkmnpqrtuy"  # c l o s v w x z are small or narrow copies of others
DIGITS = "123456789"  # 0 is a narrow O
GREEK = "ΓΔΘΛΞΠΣΦΨΩ" + "αβγδεζηθλμξπςστφψω"
CYRILLIC = "ЂЉЊЋЏБДЖИЙЛЦЧШЩЪЫЬЭЮЯѢђ"

LEARNED = {"Latin": LATIN, "digit": DIGITS, "Greek": GREEK}
HELD_OUT = {"Cyrillic": CYRILLIC}

FAMILIES = {
    "DejaVu Sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    "DejaVu Sans Mono": (
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSansMono-BoldOblique",
    ),
    "DejaVu Serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    "STIX General": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
}


def class_names(scripts: dict[str, str]) -> list[tuple[str, str]]:
    """Return the pairs (class name such as "Cyrillic/Б", character) of some scripts."""
    return [(f"{script}/{character}", character) for script, letters in scripts.items() for character in letters]


def font_files() -> dict[str, Path]:
    """Return the file of every face, by the face's name, in the order of `FAMILIES`."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return {face: folder / f"{face}.ttf" for faces in FAMILIES.values() for face in faces}
