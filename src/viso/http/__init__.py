"""Code that all servers share: limits on connections and callers, headers, drained bodies."""
