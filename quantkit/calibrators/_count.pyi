def count(
    values: int,
    size: int,
    channels: int,
    inner: int,
    width: float,
    counts: int,
    low: int,
    high: int,
    mean: int,
    factor: float,
    /,
) -> tuple[float, float, float, bool]: ...
