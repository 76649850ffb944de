"""History at size: a store as it is after a year, asked through the API while the platform works."""
