"""HTTP: the reporting API, the dashboard and what guards them."""
