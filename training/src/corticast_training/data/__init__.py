"""Reading what `corticast prepare` wrote."""
