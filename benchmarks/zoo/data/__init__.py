"""What is trained on: what the machine holds anyway, one module a set; ``first`` that of ``dev`` and ``seen``."""
