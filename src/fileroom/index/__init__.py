"""The rows of patients, studies, series and instances: the attribute table, writing, searching."""
