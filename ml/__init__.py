"""Images in, scores out: the part of bcweb that knows tensors and knows nothing of Django.

What is trained, what is evaluated and what serves is one preprocessing object and one model
file, so a number on the model card is the number that the service gives.
"""

import os

# ONNX Runtime would send figures of its use to its maker, and begins when it is imported. Nothing
# leaves the hospital unasked (docs/security.md).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
