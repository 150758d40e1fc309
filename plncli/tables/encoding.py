"""Text in UTF-8 or UTF-16, with or without a byte-order mark, as UTF-8."""

from __future__ import annotations

from plncli.errors import DataError

HEAD = 1 << 13  # bytes that are looked at
NULS = 0.2  # share of zeros among the high bytes of UTF-16 in a table, whose numbers and separators have one each
BOM = "\ufeff"
ENDS = ("\n", "\r")


def as_utf8(data: memoryview, name: str) -> memoryview:
    """Without its byte-order mark, UTF-16 turned into UTF-8; what is none of both is left as it is."""
    mark = BOM.encode()
    while bytes(data[: len(mark)]) == mark:
        data = data[len(mark) :]
    marked = bytes(data[:2]) in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if marked else unmarked(data)
    if not encoding:
        return data
    try:
        return memoryview(bytes(data).decode(encoding).lstrip(BOM).encode())
    except UnicodeError:
        if marked:
            raise DataError(f"{name} starts like UTF-16 text but is not. Save it as UTF-8.") from None
        return data


def unmarked(data: memoryview) -> str:
    """`utf-16-le` or `utf-16-be` where the bytes are such text without a byte-order mark, else nothing.

    Text in UTF-8 holds no zero byte; in UTF-16 each sign of ASCII has one, on the same side.
    """
    head = bytes(data[: min(HEAD, len(data) - len(data) % 2)])
    if len(data) % 2 or not head:
        return ""
    for encoding, high in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if high.count(0) >= NULS * len(high) and _legible(head, encoding):
            return encoding
    return ""


def _legible(head: bytes, encoding: str) -> bool:
    """Whether bytes decode to lines of signs that can be printed; the last may be cut in two."""
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(head):
            return False
        text = head[: error.start].decode(encoding)
    plain = text.replace("\t", "").replace("\n", "").replace("\r", "")
    return any(end in text for end in ENDS) and all(sign.isprintable() or sign.isspace() for sign in plain)
