"""Code that turns tensors into a few scalars on the device: pure kernels and the probes that call them."""
