"""The compiled kernel; all else stands in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "quantkit.calibrators._count",
            ["quantkit/calibrators/_count.c"],
            # No contraction into fused multiply-adds, so that every build rounds alike.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
            py_limited_api=True,
            optional=True,  # without a compiler NumPy counts the same
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
