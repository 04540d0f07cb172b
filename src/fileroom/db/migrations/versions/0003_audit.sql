-- The audit trail.
SELECT 1;
