"""What is trained: the networks, one module a set; ``first`` those of ``dev`` and ``seen``."""
