"""NNCF's placement of FakeQuantize with quantkit's ranges.

Only ``adapter`` uses NNCF's internal API.
May import the rest of ``targets.openvino``.
"""
