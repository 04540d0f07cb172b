-- The association ledger.
SELECT 1;
