-- Passkeys, and passwords that must be changed.
SELECT 1;
