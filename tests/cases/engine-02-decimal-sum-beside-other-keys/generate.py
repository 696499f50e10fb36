"""Five values of key 0 around 20,000 other keys, so that partial sums are flushed in between."""

from pathlib import Path

NINES = "9" * 38


def row(key: int, value: str) -> str:
    return f'{{"ts":"2024-01-01 00:00:01","k":{key},"d":{value}}}\n'


others = [row(key, "1") for key in range(1, 20_001)]
lines = [row(0, NINES), row(0, NINES), *others, row(0, "4"), row(0, "5"), row(0, "6")]
folder = Path("in")
folder.mkdir(exist_ok=True)
(folder / "a.json").write_text("".join(lines))
