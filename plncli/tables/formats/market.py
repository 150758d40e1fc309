"""Matrix Market files (.mtx) with the lists of their rows and columns, such as the folders of 10x Genomics."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path
from typing import Any

from plncli.errors import DataError, counted, some
from plncli.tables.content import File, read_bytes, unpack
from plncli.tables.formats.base import Matrix, no_part, reading
from plncli.tables.formats.tenx import told_kinds
from plncli.tables.sparse import CSR, csr
from plncli.tables.text import lines_of

MAGIC = b"%%MatrixMarket"
MATRIX = r"\.mtx(\.(gz|bz2|xz|zst))?$"
LIST = r"\.?_?{}\.(tsv|csv|txt)(\.(gz|bz2|xz|zst))?$"
LAYOUTS = {"coordinate": 3, "array": 2}
"""Numbers in the line of sizes."""
NUMBERS = ("integer", "unsigned-integer", "real", "double", "pattern")
QUOTED = r"^\"(.*)\"$"
SAMPLES, FEATURES = r"(barcodes|cells|samples|obs)", r"(features|genes|var|otus|asvs|taxa)"


def is_one(path: Path) -> bool:
    """Whether a file is called as a Matrix Market file is."""
    return re.search(MATRIX, path.name) is not None


def in_folder(folder: Path) -> Path:
    """The one .mtx file of a folder; DataError where there is none, or several."""
    found = sorted(file for file in folder.iterdir() if is_one(file))
    if len(found) != 1:
        what = f"{len(found)} of them ({some(file.name for file in found)})" if found else "none"
        raise DataError(
            f"{folder} is a folder. One with a single matrix.mtx or matrix.mtx.gz can be read, with its lists of "
            f"barcodes and features, but it has {what}. Name the file."
        )
    return found[0]


def lists(matrix: Path) -> tuple[Path, Path]:
    """The lists of samples and of features beside a .mtx file; DataError where one is missing."""
    stem = re.sub(MATRIX, "", matrix.name)
    prefix = re.escape(re.sub(r"[._]?matrix$", "", stem))
    found = []
    for what, words in (("samples (such as barcodes.tsv)", SAMPLES), ("features (such as features.tsv)", FEATURES)):
        pattern = f"{prefix}{LIST.format(words)}"
        here = sorted(file for file in matrix.parent.iterdir() if re.fullmatch(pattern, file.name))
        if not here:
            raise DataError(
                f"{matrix} has no list of its {what} beside it. A .mtx file holds numbers alone: put the lists of both "
                "sides, a name a line, into its folder."
            )
        found.append(here[0])
    return found[0], found[1]


def read(file: File) -> Matrix:
    """The matrix, features in its rows as 10x writes it, or samples where only that fits the lists."""
    no_part(file, "a Matrix Market file")
    if file.beside is None:
        raise DataError(f"{file.name} is a Matrix Market file, whose names stand in files beside it; give its path.")
    samples, features = (_rows(path) for path in file.beside)
    n, p = len(samples), len(features)
    with reading(file, "a Matrix Market file"):
        stream = io.BytesIO(file.data)
        form, sizes = _declared(stream, file)
        height, width = sizes[:2]
        if (height, width) not in ((p, n), (n, p)):
            raise DataError(_unlike(file, samples, features, (height, width)))
        values = _values(stream, form, sizes, file)
    cells_first = re.match(r"cells_x_", file.beside[0].name) is not None
    turned = (height, width) == (p, n) and not (n == p and cells_first)
    kinds = [row[2] for row in features if len(row) > 2]
    notes = told_kinds(file.name, kinds) if len(kinds) == p else ()
    names = [row[0] for row in samples], [row[0] for row in features]
    return Matrix(*names, csr(values.T if turned else values), None, notes)


def _declared(stream: io.BytesIO, file: File) -> tuple[str, list[int]]:
    """What the first line says of the form, and the sizes: rows, columns and, but for dense ones, entries."""
    form = stream.readline().decode("latin-1").casefold().split()[2:]
    line = next((line for line in stream if line.strip() and not line.startswith(b"%")), b"")
    known = len(form) == 3 and form[0] in LAYOUTS and form[1] in NUMBERS
    halved = form[2:] == ["symmetric"] and form[0] == "coordinate" and len({*line.split()[:2]}) == 1
    if not known or not (halved or form[2] == "general"):
        raise DataError(
            f"{file.name} holds a matrix of the form `{' '.join(form)}`. Only `coordinate` and `array` ones of integer,"
            " real or pattern entries that are `general`, or square `coordinate` ones that are `symmetric`, can be "
            "read: write it as such."
        )
    sizes = [int(word) for word in line.split()]
    if len(sizes) != LAYOUTS[form[0]] or min(sizes) < 0:
        raise DataError(f"{file.name} is damaged: `{line.decode('latin-1').strip()}` are no sizes of a matrix.")
    return " ".join(form), sizes


def _values(stream: io.BytesIO, form: str, sizes: list[int], file: File) -> Any:
    """The entries below the sizes, as many as are declared; at a damaged line, scipy's reader may end the process."""
    import numpy as np
    import pandas as pd
    from scipy import sparse

    layout, kind, symmetry = form.split()
    dense, pattern = layout == "array", kind == "pattern"
    height, width, entries = (*sizes, sizes[0] * sizes[1]) if dense else sizes
    fields = 1 if dense else 2 if pattern else 3
    try:
        lines = pd.read_csv(stream, sep=r"\s+", header=None, comment="%")
    except pd.errors.EmptyDataError:
        lines = pd.DataFrame(np.zeros((0, fields), dtype=np.int64))
    if lines.shape != (entries, fields):
        raise DataError(
            f"{file.name} is damaged: it declares {entries} lines of {counted(fields, 'number')}, but has {len(lines)} "
            f"of {lines.shape[1]}. Write or fetch it again."
        )
    columns = [pd.to_numeric(lines[j]).to_numpy() for j in range(fields)]
    if dense:
        return columns[0].reshape((height, width), order="F")
    rows, places = (column.astype(np.int64, casting="safe") - 1 for column in columns[:2])
    numbers = np.ones(entries) if pattern else columns[2].astype(np.float64)
    if symmetry == "symmetric":  # one half is there, with the diagonal
        other = rows != places
        rows, places = np.concatenate([rows, places[other]]), np.concatenate([places, rows[other]])
        numbers = np.concatenate([numbers, numbers[other]])
    return sparse.coo_array((numbers, (rows, places)), shape=(height, width))


def _unlike(file: File, samples: list[list[str]], features: list[list[str]], shape: tuple[int, int]) -> str:
    """Message for lists that have other lengths than the matrix, with the header that one begins with, if any."""
    assert file.beside is not None
    message = (
        f"{file.name} is {shape[0]} × {shape[1]}, but {file.beside[0].name} beside it names "
        f"{counted(len(samples), 'sample')} and {file.beside[1].name} {counted(len(features), 'feature')}. "
    )
    for path, names, fits in zip(file.beside, (samples, features), ((0, 1), (1, 0)), strict=True):
        if (len(features) - fits[0], len(samples) - fits[1]) == shape:
            return f"{message}The first line of {path.name}, `{names[0][0]}`, may be a header: remove it."
    return f"{message}They do not belong together."


def _rows(path: Path) -> list[list[str]]:
    """The fields of each line of a list; its first is the name."""
    lines = [line for line in lines_of(unpack(read_bytes(str(path), "counts"), str(path)), str(path)) if line.strip()]
    split = csv.reader(lines) if ".csv" in path.suffixes else (line.split("\t") for line in lines)
    rows = [[re.sub(QUOTED, r"\1", field.strip()) for field in fields] for fields in split]
    nameless = [i for i, row in enumerate(rows, 1) if not row[0]]
    if nameless:
        raise DataError(f"{path} has {counted(len(nameless), 'line')} without a name: number {some(nameless)}.")
    return rows


def _quoted(name: str) -> str:
    """A name as a list holds it: as it is, unless it would be taken for one in quotes."""
    return f'"{name}"' if re.search(QUOTED, name) else name


def write(folder: Path, samples: list[str], features: list[str], values: CSR, *_: Any) -> None:
    """Fill a folder as Cell Ranger 3 does: features in rows; there is no place for what else is known."""
    import numpy as np
    from scipy.io import mmwrite

    for name in (*samples, *features):
        if re.search(r"[\t\r\n]", name):
            raise DataError(f"The name `{name}` holds a tab or a line break, which lists beside a .mtx file cannot.")
    whole = bool((np.floor(values.data) == values.data).all())
    matrix = io.BytesIO()
    mmwrite(matrix, values.T.tocoo().astype(np.int64 if whole else np.float64), precision=17, symmetry="general")
    contents = {
        "matrix.mtx.gz": matrix.getvalue(),
        "barcodes.tsv.gz": "".join(f"{name}\n" for name in map(_quoted, samples)).encode(),
        "features.tsv.gz": "".join(f"{name}\t{name}\tGene Expression\n" for name in map(_quoted, features)).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content, mtime=0))
