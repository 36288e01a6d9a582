"""In which encoding a table was written: by its marks, as UTF-8, or by the look of its words."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets and editors write instead of UTF-8; of equally good readings the first is taken.
OLD = {
    "cp1252": "Windows-1252",
    "gb18030": "GBK",
    "big5": "Big5",
    "cp932": "Shift-JIS",
    "cp949": "Windows-949",
    "euc_jp": "EUC-JP",
    "cp1251": "Windows-1251",
    "cp1250": "Windows-1250",
    "cp1254": "Windows-1254",
    "cp1253": "Windows-1253",
    "iso8859-2": "ISO 8859-2",
    "koi8-r": "KOI8-R",
}
# The letters beyond ASCII of the languages that an encoding of one byte is used for, the frequent ones first.
# Read in the wrong encoding the words of one language have letters that no language has together.
LETTERS = {
    "cp1252": (
        "äöüß",
        "éèàçêâîôûëïùœæÿ",
        "áéíóúñü",
        "ãáéçõíóâêàú",
        "àèéìòù",
        "åäö",
        "øåæ",
        "ëéïóöè",
        "áíóðþæéöúý",
    ),
    "cp1254": ("ıışşğğüöçİâîû",),
    "cp1250": ("łąęóśżćźń", "áíéěřčšžýůúďťňó", "áéóöőűíúü", "čšžćđ", "áíéčšžýúľťňďôäĺŕ", "ăâîşţșț"),
    "cp1251": ("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", "оаинітервслкдмупзяьгбчйхїєжцшщюфґ", "јљњђћџ"),
    "cp1253": ("αοιετσνρκυπλμςήάίόηέύώγδχθωβφξζψϊϋ",),
}
LETTERS["iso8859-2"], LETTERS["koi8-r"] = LETTERS["cp1250"], LETTERS["cp1251"][:1]
# Bytes that begin a frequent character: what is not read as one of them is likely misread. Both GB 2312 and
# Big5 order the frequent characters before the rare ones; KS X 1001 has Hangul before the Chinese characters.
FREQUENT = {
    "gb18030": rb"[\xa1-\xa9\xb0-\xd7]",
    "big5": rb"[\xa1-\xc6]",
    "cp949": rb"[\xb0-\xc8][\xa1-\xfe]",
    "cp932": rb"[\x81-\x97]",
}
TOGETHER = 0.3  # several languages in one table are less likely than one
EVIDENCE = 1 << 14  # bytes of words that are not ASCII


def find_encoding(blocks: Iterable[bytes]) -> str:
    """The encoding of a text: "utf-8" wherever it is valid, one of `OLD` where the words have to tell."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    words: set[bytes] = set()
    found = 0
    is_utf8 = is_first = True
    for block in blocks:
        if is_first:
            is_first = False
            if marked := next((name for mark, name in MARKS if block.startswith(mark)), ""):
                return marked
            zeros = block[:200:2].count(0), block[1:200:2].count(0)  # UTF-16 without its mark: ASCII has
            if 5 * max(zeros) > len(block[:100]) and 5 * min(zeros) < max(
                zeros
            ):  # a zero in every other byte
                return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        if is_utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                is_utf8 = False
        if found < EVIDENCE and not block.isascii():
            words.update(word for word in re.split(rb"[\s,;]+", block) if not word.isascii())
            found = sum(map(len, words))
        if not is_utf8 and found >= EVIDENCE:
            break
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        is_utf8 = False
    return "utf-8" if is_utf8 else _by_words(sorted(words))


def _by_words(words: list[bytes]) -> str:
    from charset_normalizer import from_bytes  # only such a table needs it

    sample = b"\n".join(words)[:EVIDENCE]
    order = list(OLD)
    wide = [name for name in OLD if name not in LETTERS]
    fits = [
        (match.chaos + _rare(sample, name) + _mixed(str(match)), order.index(name), name)
        for match in from_bytes(sample, cp_isolation=wide)
        for name in match.could_be_from_charset
        if name in wide
    ]
    fits += [
        (_strange(sample.decode(name, errors="replace"), name), order.index(name), name) for name in LETTERS
    ]
    return min(fits)[-1]


def _strange(text: str, name: str) -> float:
    """How unlike the words of a language these are: 0 like them, 1 and more not at all."""
    if name == "cp1252":
        # in Portuguese it stands before an e; elsewhere it is rather Hungarian's ő
        text = re.sub("õ(?![eE])", "\ufffd", text)
    words = re.findall(r"[^\s,;|/+\"'()-]+", text)
    odd = [word for word in words if not word.isascii()]
    letters = [letter for word in odd for letter in word if not letter.isascii()]
    if not letters:
        return 1.0
    small = [letter if letter == "İ" else letter.lower() for letter in letters]

    def missing(alphabet: str) -> float:
        return sum(letter not in alphabet for letter in small) / len(small)

    alphabet = min(LETTERS[name], key=missing)
    mixed = missing("".join(LETTERS[name])) + TOGETHER  # words of several languages
    capitals = sum(word[1:] != word[1:].lower() and word != word.upper() for word in odd) / len(odd)
    rare = sum(letter not in alphabet[: len(alphabet) // 3] for letter in small) / len(small)
    latin = min(alphabet) < "Ͱ"
    alone = latin * sum(not re.search("[A-Za-z]", word) for word in odd) / len(odd)  # more likely Chinese
    return float(
        min(missing(alphabet), mixed) + capitals + (not latin) * _mixed(text) + alone / 2 + rare / 20
    )


def _mixed(text: str) -> float:
    """Share of the words that mix ASCII letters with those of another script than Latin."""
    words = re.findall(r"\w+", text)
    odd = [word for word in words if re.search("[A-Za-z]", word) and re.search(r"[^\W\u0000-\u024f]", word)]
    return len(odd) / max(1, len(words))


def _rare(sample: bytes, name: str) -> float:
    """Share of the characters of two bytes that are rare ones."""
    if name not in FREQUENT:
        return 0.0
    pairs = re.findall(rb"[\x80-\xff].", sample, re.DOTALL)
    return sum(not re.match(FREQUENT[name], pair) for pair in pairs) / max(1, len(pairs))
