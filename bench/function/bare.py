"""Predicts one image with as little code as possible; a function's cold start is compared with this script.

`python bench/function/bare.py MODEL IMAGE` prints the index of the best label, then its own CPU time (ms), RSS, PSS and
the data that it has read from the disk (MB) as a JSON list.
"""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
taken = session.get_inputs()[0]
height, width = taken.shape[1:3]
image = Image.open(sys.argv[2]).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
outputs = session.run(["probabilities"], {taken.name: np.asarray(image)[np.newaxis]})
print(int(np.argmax(outputs[0][0])), flush=True)
spent_ms = time.process_time() * 1000
rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
sizes = dict(line.split(":") for line in rollup)
mb = [int(sizes[name].split()[0]) * 1024 / 1e6 for name in ("Rss", "Pss")]
read = dict(line.split(":") for line in Path("/proc/self/io").read_text().splitlines())["read_bytes"]
print([spent_ms, *mb, int(read) / 1e6], flush=True)
