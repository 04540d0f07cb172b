-- People: accounts, roles, sessions, tokens.
SELECT 1;
