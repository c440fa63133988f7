"""The subcommands, a file per subject: what they take, what they print, and their exit codes."""
