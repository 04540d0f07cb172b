-- Settings as versions.
SELECT 1;
