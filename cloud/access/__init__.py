"""Who may do what: principals, roles, tokens, and the append-only audit."""
