Target = tuple[float, int, int, int, int, int, int, float, float, float]

def count(
    values: int, size: int, channels: int, inner: int, targets: tuple[Target, ...], /
) -> tuple[tuple[float, int, float, float], ...]: ...
