-- What the dashboard's charts are drawn from.
SELECT 1;
