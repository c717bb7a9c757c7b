"""What is shown to those without a login, if it is configured: status pages and badges."""
