-- What the console keeps: saved filters, choices, the settings' history.
SELECT 1;
