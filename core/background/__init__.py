"""What runs beside a page: one way to start, watch and end a detached process."""
