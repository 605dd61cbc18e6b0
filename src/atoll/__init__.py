"""One OpenStack cloud made of many."""
