-- Reviews of broken glass; what the pages of associations need.
SELECT 1;
