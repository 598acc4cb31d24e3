"""Files of ranges that other tools read and write: calibration caches, dynamic ranges, TensorsData.

One format, one file: text in, ranges out, and back.
May import ``core`` alone.
"""
