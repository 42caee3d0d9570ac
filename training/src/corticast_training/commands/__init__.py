"""One module per subcommand of `corticast-train`."""
