"""``quantkit doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantkit.cli.options import Json, Quiet, Verbose, Wide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantkit.cli.documents import TargetState
    from quantkit.targets import Target
    from quantkit.targets.base import Availability

NO_KERNEL = (
    "NumPy, to the same result but slower. For the compiled kernel, install a C compiler (such as gcc) and "
    "then quantkit again, from where it came, with "
    "pip install --force-reinstall --no-deps --no-cache-dir --no-binary quantkit-int8"
)


def doctor(as_json: Json = False, wide: Wide = False, verbose: Verbose = 0, quiet: Quiet = False) -> None:
    """Tell which targets work on this machine, and what to do about those that do not."""
    from quantkit.calibrators.count import COMPILED
    from quantkit.cli.console import configure, print_json, stdout
    from quantkit.cli.documents import DoctorDocument
    from quantkit.measure.environment import environment
    from quantkit.targets import all_targets
    from quantkit.targets.cpu import saturates_u8s8

    configure(verbose, quiet)
    here = environment()
    found = [(target, target.availability()) for target in all_targets().values()]
    seven_bit = saturates_u8s8()
    if as_json:
        print_json(
            DoctorDocument(
                environment=here,
                counting_kernel=COMPILED,
                seven_bit_weights=seven_bit,
                targets={target.name: _document(target, state) for target, state in found},
            )
        )
        return
    _print_targets(found)
    weights = "7-bit (no VNNI: 8 bits would saturate)" if seven_bit else "8-bit"
    stdout.print(f"\n{here.cpu}, {here.cores} cores, INT8 weights: {weights}", markup=False)
    stdout.print(f"Counting: {'compiled' if COMPILED else NO_KERNEL}", markup=False)
    stdout.print(f"quantkit {here.quantkit}, Python {here.python}, {here.platform}", markup=False)


def _document(target: Target, state: Availability) -> TargetState:
    from quantkit.cli.documents import TargetState

    return TargetState(
        works=state.works,
        version=state.version,
        devices=tuple(target.devices()),
        exports=target.can_export(),
        reason=state.reason,
        hint=state.hint,
    )


def _print_targets(found: Sequence[tuple[Target, Availability]]) -> None:
    from quantkit.cli.console import stdout
    from quantkit.cli.tables import print_table

    rows = [
        [
            target.name,
            "yes" if state.works else "no",
            "yes" if target.can_export() else "no",
            state.version,
            ", ".join(target.devices()),
        ]
        for target, state in found
    ]
    print_table(["target", "runs here", "exports", "version", "devices"], rows, left=5)
    for target, state in found:
        if state.reason:
            stdout.print(f"{target.name}: {state.reason}. {state.hint}", markup=False)
