-- Accounts that come from a directory or an OpenID provider.
SELECT 1;
