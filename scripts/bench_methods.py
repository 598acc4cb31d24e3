"""Measures every calibration method on a model: INT8 in OpenVINO against FP32. Prints a Markdown table and JSON.

python scripts/bench_methods.py model.onnx --data calib.txt --samples 200 --eval-data eval.txt --eval-samples 1000
"""

from __future__ import annotations

import json
import sys
import tempfile

from bench_common import decibels, parser_of, percent

import quantkit
from quantkit.calibrators import calibrators


def main() -> None:
    """Calibrate once, solve and compare once per method."""
    parser = parser_of(__doc__)
    parser.add_argument("--target", default="openvino")
    arguments = parser.parse_args()
    rows = []
    print("| model, samples | method | top-1 % [95 %] | drop, points | agree % | SQNR, dB | p50, ms | speed-up |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for number, method in enumerate(calibrators()):
            calibration = quantkit.calibrate(
                arguments.model, arguments.data, method=method, samples=arguments.samples, output=folder
            )
            comparison = quantkit.compare(
                calibration,
                arguments.eval_data,
                targets=[arguments.target],
                precisions=["int8"],
                samples=arguments.eval_samples,
            )
            for row in comparison.rows:
                if row.precision == "fp32" and number:
                    continue
                top1 = row.metrics["top1"]
                label = f"{arguments.model.stem}, {calibration.samples}"
                print(
                    f"| {label} | {row.variant or 'FP32'} | {percent(top1.value, top1.low, top1.high)} | "
                    f"{100 * row.drop['top1']:.2f} | {100 * row.agreement:.2f} | "
                    f"{decibels(row.sqnr_db)} | {row.latency_ms.p50:.2f} | "
                    f"{row.speedup:.2f} |",
                    flush=True,
                )
                rows.append(row.model_dump(mode="json"))
    print(f"\n{comparison.samples} images; {comparison.environment.model_dump()}", file=sys.stderr)
    if arguments.json:
        document = {"rows": rows, "environment": comparison.environment.model_dump()}
        arguments.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
