"""Patient's names in the character sets of PS3.3 C.12.1.1.2."""
# ruff: noqa: RUF001 - names in many alphabets

__all__ = ["NAMES"]

NAMES: dict[str, tuple[str | list[str] | None, str]] = {
    "ASCII": (None, "Phantom^Chest"),
    "Latin-1": ("ISO_IR 100", "Müller^Jürgen"),
    "Latin-2": ("ISO_IR 101", "Wałęsa^Łukasz"),
    "Cyrillic": ("ISO_IR 144", "Люкceмбypг"),
    "Arabic": ("ISO_IR 127", "قباني^لنزار"),
    "Greek": ("ISO_IR 126", "Διονυσιος"),
    "Hebrew": ("ISO_IR 138", "שרון^דבורה"),
    "Thai": ("ISO_IR 166", "นามสกุล^ชื่อ"),
    "half-width katakana": ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japanese, katakana first": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "GB 18030": ("GB18030", "Wang^XiaoDong=王^小东"),
    "GBK": ("GBK", "Wang^XiaoDong=王^小东"),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    "two alphabets": (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Buc^Jérôme=Люкceмбypг"),
}
"""Script to Specific Character Set (0008,0005) and Patient's Name (0010,0010)."""
