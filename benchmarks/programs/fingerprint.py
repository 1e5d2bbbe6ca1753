"""What a training came to, as one line that two runs can be compared by; runs without this package."""

import hashlib
import json
from typing import Any


def tell(module: Any, history: Any) -> None:
    """Print the hash of all weights and buffers, and the numbers the program itself reports."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        if hasattr(tensor, "numpy"):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    print("RESULT " + json.dumps({"weights": digest.hexdigest()[:16], "history": history}))
