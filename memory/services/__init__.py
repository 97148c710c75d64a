"""What changes the memory: each service is one transaction, idempotent, and says what it did."""
