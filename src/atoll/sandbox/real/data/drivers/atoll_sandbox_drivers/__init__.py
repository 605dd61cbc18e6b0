"""What the sandbox adds to real OpenStack: drivers that need no hardware."""
