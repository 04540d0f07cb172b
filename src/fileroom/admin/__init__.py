"""What the administrator configures: nodes; and people: accounts, roles, sessions, tokens, logins."""
