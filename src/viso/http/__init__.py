"""What the servers share: who calls, how often, and how a refused body is drained."""
