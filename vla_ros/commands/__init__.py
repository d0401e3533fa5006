"""The subcommands of `vla-ros`, one file each."""
