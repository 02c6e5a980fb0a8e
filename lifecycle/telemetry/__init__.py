"""What hosts and guests tell of themselves: serial output, addresses."""
