"""What the entry point names: importing these modules registers their parts."""

from fr3_vla_example import algorithm, head, robot, task

__all__ = ["algorithm", "head", "robot", "task"]
