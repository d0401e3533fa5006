"""The ROS 2 runtime for vision-language-action policies of the VLM4VLA recipe (arXiv 2601.03309)."""

__version__ = "0.1.0"
