"""The composition root: builds everything once and passes it in; the processes of 'fileroom serve'."""
