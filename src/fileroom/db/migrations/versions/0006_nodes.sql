-- What is known of nodes beyond name and address, and how they answered.
SELECT 1;
