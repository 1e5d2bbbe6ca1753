"""What watching costs, measured beside every alternative in one run.

    python -m benchmarks.overhead paired [--net cnn gpt mlp] [--variant ...] [--blocks 7] [--out FILE]
    python -m benchmarks.overhead growth [--curve tensors parameters classes ranks steps] [--out FILE]
    python -m benchmarks.overhead footprint [--out FILE]

*Paired*: each block trains the same net on the same batches for a few steps, bare and with each variant in turn, in an
order that rotates from block to block. Compared is the time from the start of the first measured step to the end of the
last (the first steps of a block are warm-up and not measured; set-up and tear-down of a fit are not either). CPU time
of the process is the main figure on a CPU, because a shared machine's wall clock is noisy; wall time stands beside it.
On a GPU (``--device cuda``, nets ``resnet50 gpt2 gpt2-compiled stack1b``) it is wall time between two synchronizations.

*Growth*: what one sampled step costs the host against the size of the model, and what a record costs against its steps.
*Footprint*: import time, memory, bytes a step, time to close.
"""
